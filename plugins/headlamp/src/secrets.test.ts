// The plugin reads no Secret. This is the check of the sources; the tests of components and the browser's test check the
// requests.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(process.cwd(), 'src');

function sources(): string[] {
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return all.filter(name => /\.tsx?$/.test(name) && !/\.test\.tsx?$|^test\//.test(name));
}

describe('the sources', () => {
  const forbidden: [string, RegExp][] = [
    [
      "Headlamp's class of Secrets",
      /\bResourceClasses\s*(\.\s*Secret\b|\[)|K8s\.secret\b|[kK]8s\/secret/,
    ],
    ['the path of Secrets', /\/secrets\b/],
    ['the field data of an object', /\.data\b.*[sS]ecret|[sS]ecret.*\.data\b/],
    ['HTML from texts', /dangerouslySetInnerHTML|innerHTML|\beval\(|new Function/],
    ['storage of the browser', /localStorage|sessionStorage/],
    ['other hosts', /https?:\/\//],
  ];

  it.each(forbidden)('have not: %s', (_, pattern) => {
    const names = sources();
    expect(names.length).toBeGreaterThan(15);
    const found = names.filter(name => pattern.test(readFileSync(join(folder, name), 'utf8')));
    expect(found).toEqual([]);
  });

  it('call the API server by path in one place, for ConfigMaps', () => {
    const calls = sources().filter(name =>
      /ApiProxy\.|\bfetch\(/.test(readFileSync(join(folder, name), 'utf8'))
    );
    expect(calls).toEqual(['data.ts']);
    const paths = readFileSync(join(folder, 'data.ts'), 'utf8').match(/\/apis?\/[^;]*/g);
    expect(paths?.map(path => path.replace(/\s+/g, ''))).toEqual([
      '/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${encodeURIComponent(name)}`',
    ]);
  });
});
