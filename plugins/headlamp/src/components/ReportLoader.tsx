import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { Button, TextField } from '@mui/material';
import { useState } from 'react';
import { Finding, parseReport, requireReportSize } from '../lib/report';
import { printable } from '../lib/text';
import { FindingsTable } from './FindingsTable';

const { SectionBox } = CommonComponents;

/** ReportLoader shows the output of kubectl akv2k8s doctor -o json, which the user pastes or opens. The text stays in
 * the browser. */
export function ReportLoader() {
  const [text, setText] = useState('');
  const [findings, setFindings] = useState<Finding[]>();
  const [error, setError] = useState('');

  function show(report: string) {
    try {
      setFindings(parseReport(report));
      setError('');
    } catch (cause) {
      setFindings(undefined);
      setError(printable(cause instanceof Error ? cause.message : String(cause)));
    }
  }

  async function open(file: File | undefined) {
    if (!file) {
      return;
    }
    try {
      requireReportSize(file.size);
      show(await file.text());
    } catch (cause) {
      setFindings(undefined);
      setError(printable(cause instanceof Error ? cause.message : String(cause)));
    }
  }

  return (
    <SectionBox title="Report of kubectl akv2k8s doctor">
      <p>
        The command also checks what a browser can't: the nodes, the certificate of the webhook, a
        pod as a dry run, and Azure. Paste the output of <code>kubectl akv2k8s doctor -o json</code>
        , or open it as a file. It is not sent anywhere.
      </p>
      <TextField
        fullWidth
        multiline
        minRows={2}
        maxRows={6}
        label="Report"
        value={text}
        onChange={event => setText(event.target.value)}
      />
      <div style={{ display: 'flex', gap: '1rem', margin: '0.5rem 0' }}>
        <Button variant="outlined" disabled={text === ''} onClick={() => show(text)}>
          Show report
        </Button>
        <input
          type="file"
          accept=".json,application/json"
          aria-label="Open a report"
          onChange={event => open(event.target.files?.[0])}
        />
      </div>
      {error && <p role="alert">{error}</p>}
      {findings && <FindingsTable findings={findings} />}
    </SectionBox>
  );
}
