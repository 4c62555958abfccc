import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { MAX_FINDINGS_SHOWN } from '../lib/limits';
import { countFindings, Finding, groupFindings, Severity } from '../lib/report';
import { State } from '../lib/status';
import { Status } from './common';

const { SectionBox, SimpleTable } = CommonComponents;

const states: Record<Severity, State> = {
  ok: 'success',
  skipped: '',
  warning: 'warning',
  error: 'error',
};

/** FindingsTable shows findings as text, grouped by category. */
export function FindingsTable({ findings }: { findings: Finding[] }) {
  const counts = countFindings(findings);
  return (
    <>
      <p>
        {`errors: ${counts.error}, warnings: ${counts.warning}, skipped: ${counts.skipped}, ok: ${counts.ok}`}
      </p>
      {groupFindings(findings).map(category => (
        <SectionBox key={category.name} title={category.name}>
          <SimpleTable
            columns={[
              {
                label: 'Result',
                gridTemplate: 'min-content',
                getter: (f: Finding) => <Status state={states[f.severity]}>{f.severity}</Status>,
              },
              { label: 'Object', gridTemplate: 1, getter: (f: Finding) => f.object || '–' },
              { label: 'Finding', gridTemplate: 2, getter: (f: Finding) => <What finding={f} /> },
              { label: 'Next step', gridTemplate: 2, getter: (f: Finding) => <Try finding={f} /> },
            ]}
            data={category.findings.slice(0, MAX_FINDINGS_SHOWN)}
          />
          {category.findings.length > MAX_FINDINGS_SHOWN && (
            <p>{`${category.findings.length - MAX_FINDINGS_SHOWN} more findings are not shown.`}</p>
          )}
        </SectionBox>
      ))}
    </>
  );
}

function What({ finding }: { finding: Finding }) {
  return (
    <>
      <div>{finding.what}</div>
      {finding.why && <div>{`Why: ${finding.why}`}</div>}
      <small>{`Check: ${finding.check}`}</small>
    </>
  );
}

function Try({ finding }: { finding: Finding }) {
  return (
    <>
      {finding.try && <div>{finding.try}</div>}
      {finding.command && <code style={{ overflowWrap: 'anywhere' }}>{finding.command}</code>}
    </>
  );
}
