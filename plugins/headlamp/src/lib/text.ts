import { MAX_NAMES, MAX_TEXT } from './limits';

// Control characters, and characters that reorder or hide text: a report or a message of another program must not look
// like something else than it is.
const unprintable =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** printable returns a text without control and invisible characters, shortened to MAX_TEXT characters. */
export function printable(text: string, limit = MAX_TEXT): string {
  const short = text.length > limit ? text.slice(0, limit) + '…' : text;
  return short.replace(unprintable, ' ');
}

/** splitMessage splits the message of a condition into its cause and the next step, which follows a semicolon. */
export function splitMessage(message: string): { cause: string; next: string } {
  const at = message.indexOf('; ');
  if (at < 0) {
    return { cause: printable(message), next: '' };
  }
  return { cause: printable(message.slice(0, at)), next: printable(message.slice(at + 2)) };
}

/** shortList joins the first names, and counts the others. */
export function shortList(names: string[], limit = MAX_NAMES): string {
  const text = names.slice(0, limit).join(', ');
  return names.length > limit ? `${text} and ${names.length - limit} more` : text;
}

/** compareText orders texts by their code units, the same in every locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** asRecord returns an object as a record; undefined for anything else, also for arrays. */
export function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
