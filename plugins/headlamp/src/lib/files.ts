import { parseDocument } from 'yaml';
import { MAX_FILES, MAX_FILES_ANNOTATION } from './limits';
import { parseReference, Reference } from './reference';
import { asRecord } from './text';

const annotationFiles = 'akv2k8s.io/files';

/** RequestedFile is a file, or a folder if its path ends with a slash, that an annotation requests. */
export interface RequestedFile {
  path: string;
  reference: Reference;
  /** Annotation is the name of the annotation. */
  annotation: string;
}

/** requestedFiles returns the files that the annotations of a pod request for one of its containers, by path. An
 * annotation that the webhook would deny gives none. */
export function requestedFiles(
  annotations: Record<string, string> | undefined,
  container: string
): RequestedFile[] {
  const byPath = new Map<string, RequestedFile>();
  for (const name of [annotationFiles, `${annotationFiles}.${container}`]) {
    for (const file of parseAnnotation(name, annotations?.[name])) {
      byPath.set(file.path, file);
    }
  }
  return [...byPath.values()].slice(0, MAX_FILES);
}

function parseAnnotation(annotation: string, text: string | undefined): RequestedFile[] {
  if (typeof text !== 'string' || text.length > MAX_FILES_ANNOTATION) {
    return [];
  }
  const entries = asRecord(parseMapping(text));
  if (!entries) {
    return [];
  }
  const found: RequestedFile[] = [];
  for (const [path, value] of Object.entries(entries).slice(0, MAX_FILES)) {
    const options = asRecord(value) ?? { from: value };
    for (const option of ['from', 'password']) {
      const reference = parseReference(options[option]);
      if (reference && path.startsWith('/')) {
        found.push({
          path: option === 'from' ? path : `${path} (password)`,
          reference,
          annotation,
        });
      }
    }
  }
  return found;
}

/** parseMapping parses YAML, of which JSON is a part. Aliases are not resolved more than once for each entry. */
function parseMapping(text: string): unknown {
  try {
    const document = parseDocument(text, { uniqueKeys: false, logLevel: 'silent' });
    return document.errors.length > 0 ? undefined : document.toJS({ maxAliasCount: MAX_FILES });
  } catch {
    return undefined; // too many aliases
  }
}
