// Limits of what the plugin reads and shows. Objects of tenants and pasted reports can be of any size.

/** Objects of one kind that one view reads, as in kubectl akv2k8s doctor. */
export const MAX_OBJECTS = 5_000;

/** Uses of resources by one pod or pod template. The webhook has lower limits for pods that it injects. */
export const MAX_USES = 1_000;

/** ConfigMaps that one view reads to find the references in them. */
export const MAX_CONFIG_MAPS = 50;

/** Bytes of an annotation akv2k8s.io/files, and entries of all of them; the limits of the webhook. */
export const MAX_FILES_ANNOTATION = 32 * 1024;
export const MAX_FILES = 200;

/** Bytes of a JSON record of the webhook in an environment variable. */
export const MAX_RECORD = 512 * 1024;

/** Bytes of a report of kubectl akv2k8s doctor, and its findings. */
export const MAX_REPORT = 2 * 1024 * 1024;
export const MAX_REPORT_FINDINGS = 2_000;

/** Characters of a text that is shown, and lines of one category of findings. */
export const MAX_TEXT = 2_000;
export const MAX_FINDINGS_SHOWN = 200;

/** Edges and consumers of one map. */
export const MAX_EDGES = 5_000;

/** Names in one finding; it has the number of the others. */
export const MAX_NAMES = 3;
