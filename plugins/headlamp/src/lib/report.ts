import { MAX_REPORT, MAX_REPORT_FINDINGS } from './limits';
import { asRecord, printable } from './text';

export type Severity = 'ok' | 'skipped' | 'warning' | 'error';

/** Finding is what a check found, in the form of kubectl akv2k8s doctor -o json. */
export interface Finding {
  category?: string;
  check: string;
  object?: string;
  severity: Severity;
  /** What is the state, Why its cause or its effect, and Try the next step. */
  what: string;
  why?: string;
  try?: string;
  /** Command does in a shell what Try says. */
  command?: string;
  /** Right is the missing right of a skipped check. */
  right?: string;
}

const ranks: Record<Severity, number> = { ok: 0, skipped: 1, warning: 2, error: 3 };

/** worst returns the worst severity; ok if there are no findings. */
export function worst(findings: Finding[]): Severity {
  return findings.reduce<Severity>((w, f) => (ranks[f.severity] > ranks[w] ? f.severity : w), 'ok');
}

/** Category has the findings of one group of checks, the worst first. */
export interface Category {
  name: string;
  severity: Severity;
  findings: Finding[];
}

/** groupFindings groups findings by category, in the order of their first finding. */
export function groupFindings(findings: Finding[]): Category[] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const name = finding.category || 'Other';
    const group = groups.get(name);
    if (group) {
      group.push(finding);
    } else {
      groups.set(name, [finding]);
    }
  }
  return [...groups].map(([name, group]) => ({
    name,
    severity: worst(group),
    findings: group.sort((a, b) => ranks[b.severity] - ranks[a.severity]),
  }));
}

/** countFindings counts findings by severity. */
export function countFindings(findings: Finding[]): Record<Severity, number> {
  const counts = { ok: 0, skipped: 0, warning: 0, error: 0 };
  for (const { severity } of findings) {
    counts[severity]++;
  }
  return counts;
}

/** requireReportSize throws an error if a report is too large to be read. */
export function requireReportSize(bytes: number) {
  if (bytes > MAX_REPORT) {
    const limit = `${MAX_REPORT / 1024 / 1024} MiB`;
    throw new Error(
      `The report has more than ${limit}. Run the command for one namespace, with -n NAMESPACE.`
    );
  }
}

const nextStep = 'Use the output of: kubectl akv2k8s doctor -o json';

/** parseReport reads the output of kubectl akv2k8s doctor -o json. It throws an error with the next step for anything
 * else. The texts of the findings are shortened, and have no control characters. */
export function parseReport(text: string): Finding[] {
  requireReportSize(text.length);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error(`The report is not JSON. ${nextStep}`);
  }
  const findings = asRecord(parsed)?.findings;
  if (!Array.isArray(findings)) {
    throw new Error(`The report has no list of findings. ${nextStep}`);
  }
  if (findings.length > MAX_REPORT_FINDINGS) {
    throw new Error(
      `The report has more than ${MAX_REPORT_FINDINGS} findings. Run the command for one namespace, with -n NAMESPACE.`
    );
  }
  return findings.map(parseFinding);
}

function parseFinding(value: unknown, index: number): Finding {
  const record = asRecord(value);
  const textOf = (field: string, required: boolean): string => {
    const text = record?.[field] ?? '';
    if (typeof text !== 'string' || (required && text === '')) {
      throw new Error(`The field "${field}" of finding ${index + 1} is not a text. ${nextStep}`);
    }
    return printable(text);
  };
  const severity = textOf('severity', true);
  if (!Object.keys(ranks).includes(severity)) {
    throw new Error(
      `The severity of finding ${index + 1} is not ok, skipped, warning or error. ${nextStep}`
    );
  }
  return {
    category: textOf('category', false),
    check: textOf('check', true),
    object: textOf('object', false),
    severity: severity as Severity,
    what: textOf('what', true),
    why: textOf('why', false),
    try: textOf('try', false),
    command: textOf('command', false),
    right: textOf('right', false),
  };
}
