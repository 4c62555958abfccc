import { hostile } from '../test/fixtures';
import { MAX_REPORT, MAX_REPORT_FINDINGS } from './limits';
import { countFindings, groupFindings, parseReport, requireReportSize, worst } from './report';

const finding = { category: 'Webhook', check: 'c', severity: 'error', what: 'w' };
const report = (...findings: unknown[]) => JSON.stringify({ status: 'error', findings });

describe('the report of kubectl akv2k8s doctor', () => {
  it('is read with all fields', () => {
    const whole = {
      ...finding,
      object: 'o',
      why: 'y',
      try: 't',
      command: 'kubectl get pods',
      right: 'list pods',
    };
    expect(parseReport(report(whole))).toEqual([whole]);
    expect(parseReport(report())).toEqual([]);
  });

  it('is grouped by category, the worst first', () => {
    const findings = parseReport(
      report(
        { ...finding, severity: 'ok', what: '1' },
        { ...finding, category: 'Nodes', severity: 'skipped', what: '2' },
        { ...finding, what: '3' },
        { ...finding, category: '', severity: 'warning', what: '4' }
      )
    );
    const groups = groupFindings(findings).map(
      g => `${g.name} ${g.severity}: ${g.findings.map(f => f.what)}`
    );
    expect(groups).toEqual(['Webhook error: 3,1', 'Nodes skipped: 2', 'Other warning: 4']);
    expect(worst(findings)).toBe('error');
    expect(worst([])).toBe('ok');
    expect(countFindings(findings)).toEqual({ ok: 1, skipped: 1, warning: 1, error: 1 });
  });

  it('loses control characters, and what is too long', () => {
    const [found] = parseReport(
      report({ ...finding, what: hostile + '\u0000', why: 'x'.repeat(9_000) })
    );
    expect(found.what).toBe('<img src=x onerror="window.attacked=1">  ');
    expect(found.why).toHaveLength(2_001);
  });

  it.each([
    ['', 'not JSON'],
    ['{', 'not JSON'],
    ['null', 'no list of findings'],
    ['[]', 'no list of findings'],
    ['{"findings": {}}', 'no list of findings'],
    [report(null), 'The field "severity" of finding 1'],
    [report('x'), 'The field "severity" of finding 1'],
    [report(finding, { ...finding, what: 7 }), 'The field "what" of finding 2'],
    [report({ ...finding, check: '' }), 'The field "check" of finding 1'],
    [report({ ...finding, why: { a: 1 } }), 'The field "why" of finding 1'],
    [report({ ...finding, severity: 'toString' }), 'The severity of finding 1'],
    [report(...Array(MAX_REPORT_FINDINGS + 1).fill(finding)), 'more than 2000 findings'],
    [' '.repeat(MAX_REPORT + 1), 'more than 2 MiB'],
  ])('%.40j is rejected: %s', (text, message) => {
    expect(() => parseReport(text)).toThrow(message);
  });

  it('is rejected by its size before it is read', () => {
    expect(() => requireReportSize(MAX_REPORT)).not.toThrow();
    expect(() => requireReportSize(MAX_REPORT + 1)).toThrow('-n NAMESPACE');
  });
});
