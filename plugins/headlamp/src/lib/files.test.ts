import { requestedFiles } from './files';
import { MAX_FILES } from './limits';

const files = (text: string, container = 'app') =>
  requestedFiles({ 'akv2k8s.io/files': text }, container).map(
    f => `${f.path} ${f.reference.name} ${f.reference.query}`
  );

describe('files of annotations', () => {
  it('reads YAML, JSON and options', () => {
    expect(
      files(
        [
          '/etc/app/password: db@azurekeyvault?p',
          '/etc/app/tls/: web@azurekeyvault',
          '/etc/app/web.pfx: {from: web@azurekeyvault, format: pfx, password: pw@azurekeyvault}',
        ].join('\n')
      )
    ).toEqual([
      '/etc/app/password db p',
      '/etc/app/tls/ web ',
      '/etc/app/web.pfx web ',
      '/etc/app/web.pfx (password) pw ',
    ]);
    expect(files('{"/a": "x@azurekeyvault"}')).toEqual(['/a x ']);
  });

  it('adds those of one container', () => {
    const annotations = {
      'akv2k8s.io/files': '/a: x@azurekeyvault\n/b: y@azurekeyvault',
      'akv2k8s.io/files.app': '/b: own@azurekeyvault',
      'akv2k8s.io/files.other': '/c: z@azurekeyvault',
    };
    const found = requestedFiles(annotations, 'app').map(f => [f.reference.name, f.annotation]);
    expect(found).toEqual([
      ['x', 'akv2k8s.io/files'],
      ['own', 'akv2k8s.io/files.app'],
    ]);
  });

  it.each([
    '',
    'text',
    '[1, 2]',
    'relative: x@azurekeyvault',
    '/a: no-reference',
    '/a: [x@azurekeyvault]',
    ': [',
    '['.repeat(20_000),
    `/a: x@azurekeyvault${' '.repeat(40_000)}`,
  ])('finds nothing in %.30j', text => {
    expect(files(text)).toEqual([]);
  });

  it('limits the entries and the expansion of aliases', () => {
    const many = Array.from({ length: 500 }, (_, i) => `/f${i}: x@azurekeyvault`).join('\n');
    expect(files(many)).toHaveLength(MAX_FILES);
    const levels = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 12; i++) {
      levels.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]`
      );
    }
    const started = performance.now();
    expect(files(levels.join('\n'))).toEqual([]);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
