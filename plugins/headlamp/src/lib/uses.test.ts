import { container, injected, pod } from '../test/fixtures';
import { MAX_USES } from './limits';
import { formatReference } from './reference';
import { Container, PodSpec } from './types';
import { configMapsOf, usesOf } from './uses';

const texts = (
  spec: PodSpec,
  annotations?: Record<string, string>,
  configMaps?: Map<string, any>
) =>
  usesOf({ annotations }, spec, configMaps).uses.map(u =>
    [
      u.container,
      u.kind,
      u.target,
      u.reference ? formatReference(u.reference) : `${u.output?.kind} ${u.output?.name}`,
      u.from,
    ].join(' | ')
  );

describe('uses of a pod template', () => {
  const template: PodSpec = {
    containers: [
      container({
        env: [
          { name: 'PLAIN', value: 'text' },
          { name: 'DB', value: ' db@azurekeyvault?password ' },
          { name: 'KEY', valueFrom: { configMapKeyRef: { name: 'config', key: 'k' } } },
          { name: 'NONE', valueFrom: { configMapKeyRef: { name: 'config', key: 'constructor' } } },
          { name: 'SECRET', valueFrom: { secretKeyRef: { name: 'out', key: 'k' } } },
          { name: 'NOTE', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['note']" } } },
        ],
        envFrom: [
          { prefix: 'P_', configMapRef: { name: 'config' } },
          { secretRef: { name: 'more' } },
        ],
      }),
    ],
    volumes: [
      { name: 'v', secret: { secretName: 'tls' } },
      {
        name: 'p',
        projected: { sources: [{ secret: { name: 's' } }, { configMap: { name: 'c' } }] },
      },
    ],
    imagePullSecrets: [{ name: 'pull' }],
  };

  it('finds references in env, ConfigMaps, fields and annotations, and outputs', () => {
    const configMaps = new Map([['config', { k: 'api@azurekeyvault', other: 'no reference' }]]);
    const annotations = { note: 'n@azurekeyvault', 'akv2k8s.io/files': '/f: f@azurekeyvault' };
    expect(texts(template, annotations, configMaps)).toEqual([
      'app | variable | P_k | api@azurekeyvault | ConfigMap "config"',
      'app | variable | DB | db@azurekeyvault?password | env',
      'app | variable | KEY | api@azurekeyvault | ConfigMap "config"',
      'app | variable | NOTE | n@azurekeyvault | annotations of the pod',
      'app | file | /f | f@azurekeyvault | annotation akv2k8s.io/files',
      'app | output | variable KEY | ConfigMap config | variable KEY',
      'app | output | variable NONE | ConfigMap config | variable NONE',
      'app | output | variable SECRET | Secret out | variable SECRET',
      'app | output | envFrom | ConfigMap config | envFrom',
      'app | output | envFrom | Secret more | envFrom',
      ' | output | volume v | Secret tls | volume v',
      ' | output | volume p | Secret s | volume p',
      ' | output | volume p | ConfigMap c | volume p',
      ' | output | imagePullSecrets | Secret pull | imagePullSecrets',
    ]);
    expect(configMapsOf(template)).toEqual(['config']);
  });

  it('says what was not read', () => {
    const found = usesOf({}, template);
    expect(found.unread).toEqual(['ConfigMap "config"', 'Secret "more"', 'Secret "out"']);
    expect(found.injected).toBe(false);
  });

  it('limits the uses', () => {
    const env = Array.from({ length: MAX_USES + 10 }, (_, i) => ({
      name: `V${i}`,
      value: 'x@azurekeyvault',
    }));
    const found = usesOf({}, { containers: [container({ env })] });
    expect(found.uses).toHaveLength(MAX_USES);
    expect(found.truncated).toBe(true);
  });
});

describe('uses of an injected pod', () => {
  it('reads the references that the webhook recorded, and no ConfigMap', () => {
    const spec: PodSpec = {
      initContainers: [
        container({
          name: 'copy-azurekeyvault-env',
          env: [{ name: 'X', value: 'x@azurekeyvault' }],
        }),
      ],
      containers: [
        injected(
          { FROM: 'from@azurekeyvault', BAD: 'text' },
          {
            env: [
              { name: 'DB', value: 'db@azurekeyvault' },
              { name: 'FROM', valueFrom: { configMapKeyRef: { name: 'config', key: 'k' } } },
              {
                name: 'ENV_INJECTOR_IMAGE_REFERENCES',
                value: '{"DB":"image@azurekeyvault","I":"i@azurekeyvault"}',
              },
            ],
          }
        ),
      ],
    };
    const found = texts(spec).filter(text => !text.includes('output'));
    expect(found).toEqual([
      'app | variable | DB | db@azurekeyvault | env',
      'app | variable | I | i@azurekeyvault | the image',
      'app | variable | FROM | from@azurekeyvault | ConfigMap, Secret or field',
    ]);
    expect(configMapsOf(spec)).toEqual([]);
    expect(usesOf({}, spec)).toMatchObject({ injected: true, unread: [] });
  });

  it('reads the references of env files from the init container', () => {
    const env = [{ name: 'DB', valueFrom: { fileKeyRef: { volumeName: 'akv2k8s-env-files' } } }];
    const references = JSON.stringify({
      'app/DB': 'db@azurekeyvault',
      'other/X': 'x@azurekeyvault',
    });
    const spec: PodSpec = {
      initContainers: [
        container({
          name: 'copy-azurekeyvault-env',
          env: [{ name: 'ENV_INJECTOR_REFERENCES', value: references }],
        }),
      ],
      containers: [container({ env })],
    };
    expect(texts(spec)).toEqual([
      'app | variable | DB | db@azurekeyvault | ConfigMap, Secret or field',
    ]);
  });

  it('reads the files that the webhook recorded', () => {
    const record = {
      directories: {
        '0': [
          { path: 'password', from: 'db@azurekeyvault?p', mode: 420 },
          { path: 'sub', folder: true, from: 'all@azurekeyvault', mode: 420 },
          { path: 'bad', from: 'text' },
        ],
        '1': [{ path: '.', folder: true, from: 'web@azurekeyvault', mode: 420 }],
      },
    };
    const spec: PodSpec = {
      initContainers: [
        container({
          name: 'sync-azurekeyvault-files',
          env: [{ name: 'ENV_INJECTOR_FILES', value: JSON.stringify(record) }],
        }),
      ],
      containers: [
        container({
          volumeMounts: [
            { name: 'akv2k8s-files', mountPath: '/etc/app', subPath: '0' },
            { name: 'akv2k8s-files', mountPath: '/etc/tls', subPath: '1' },
            { name: 'other', mountPath: '/x', subPath: '0' },
          ],
        }),
      ],
    };
    expect(texts(spec, { 'akv2k8s.io/files': '/ignored: x@azurekeyvault' })).toEqual([
      'app | file | /etc/app/password | db@azurekeyvault?p | annotation akv2k8s.io/files',
      'app | file | /etc/app/sub/ | all@azurekeyvault | annotation akv2k8s.io/files',
      'app | file | /etc/tls/ | web@azurekeyvault | annotation akv2k8s.io/files',
    ]);
  });

  it.each(['{', '[]', '7', 'null', '{"A": 7}', `"${'x'.repeat(600 * 1024)}"`])(
    'ignores the record %.20j',
    value => {
      const env = ['ENV_INJECTOR_REFERENCES', 'ENV_INJECTOR_FILES'].map(name => ({ name, value }));
      const command = ['/azure-keyvault/azure-keyvault-env'];
      const app: Container = container({ command, env });
      const initContainers = [container({ name: 'write-azurekeyvault-files', env })];
      expect(texts({ initContainers, containers: [app] })).toEqual([]);
    }
  );

  it('accepts a pod without anything', () => {
    expect(usesOf(undefined, undefined).uses).toEqual([]);
    expect(usesOf({}, pod('p', []).spec).uses).toEqual([]);
  });
});
