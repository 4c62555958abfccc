// References as users write them: NAME@azurekeyvault?QUERY. The rules are those of the Go package envref.

const marker = '@azurekeyvault';

// A DNS subdomain, the marker, and a data key.
const maxReferenceLength = 253 + marker.length + 1 + 253;

const pattern =
  /^([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)@azurekeyvault(?:\?([-._a-zA-Z0-9]*))?$/;

export interface Reference {
  /** Name of the AzureKeyVaultSecret, in the namespace of the pod. */
  name: string;
  /** Query selects a part of the vault object; empty selects the default part. */
  query: string;
}

/** Blanks and invisible characters around a reference are ignored. */
function isBlank(character: string): boolean {
  return /[\s\u0000\u0085\u00ad\u200b\u200c\u200d\u2060\ufeff]/.test(character);
}

/** trimBlanks needs a loop, because a regular expression for the end of a text takes quadratic time. */
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text[start])) {
    start++;
  }
  while (end > start && isBlank(text[end - 1])) {
    end--;
  }
  return text.slice(start, end);
}

/** parseReference returns undefined for every text that is not a valid reference. */
export function parseReference(text: unknown): Reference | undefined {
  if (typeof text !== 'string' || !text.includes('@')) {
    return undefined;
  }
  const trimmed = trimBlanks(text);
  if (trimmed.length > maxReferenceLength) {
    return undefined;
  }
  const match = pattern.exec(trimmed);
  if (!match || match[1].length > 253) {
    return undefined;
  }
  return { name: match[1], query: match[2] ?? '' };
}

/** formatReference returns a reference as users write it. */
export function formatReference({ name, query }: Reference): string {
  return query === '' ? name + marker : `${name}${marker}?${query}`;
}
