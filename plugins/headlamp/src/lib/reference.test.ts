import { formatReference, parseReference } from './reference';

describe('references', () => {
  it.each([
    ['db@azurekeyvault', 'db', ''],
    ['db@azurekeyvault?', 'db', ''],
    ['db-1@azurekeyvault?tls.crt', 'db-1', 'tls.crt'],
    ['Upper@azurekeyvault?_x.y', 'Upper', '_x.y'],
    ['team.db@azurekeyvault?my-key', 'team.db', 'my-key'],
    ['\ufeff\u200b db@azurekeyvault?x\r\n\u2060', 'db', 'x'],
    [`${'a'.repeat(253)}@azurekeyvault`, 'a'.repeat(253), ''],
  ])('parses %j', (text, name, query) => {
    const reference = parseReference(text);
    expect(reference).toEqual({ name, query });
    expect(parseReference(formatReference(reference!))).toEqual(reference);
  });

  it.each([
    '',
    'plain',
    'user@example.com',
    '@azurekeyvault',
    '-db@azurekeyvault',
    'db-@azurekeyvault',
    'a b@azurekeyvault',
    'db@azurekeyvault?a b',
    'ns/db@azurekeyvault',
    'db@azurekeyvault?x@azurekeyvault',
    'a..b@azurekeyvault',
    '"db@azurekeyvault"',
    'db@AzureKeyVault',
    `${'a'.repeat(254)}@azurekeyvault`,
    undefined,
    7,
    {},
  ])('takes %j for a text', value => {
    expect(parseReference(value)).toBeUndefined();
  });

  it('takes linear time', () => {
    const started = performance.now();
    parseReference(`${' '.repeat(1_000_000)}x${' '.repeat(1_000_000)}@`);
    parseReference(`${'a.'.repeat(200)}@azurekeyvault?!`);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
