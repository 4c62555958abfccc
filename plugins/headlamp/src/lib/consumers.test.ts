import { container, deployment, injected, pod, resource } from '../test/fixtures';
import {
  consumersOf,
  edgesOf,
  isOutdated,
  ownerOf,
  subjectsOf,
  workloadFromDeployment,
} from './consumers';
import { MAX_EDGES } from './limits';

const ofWeb = {
  labels: { 'pod-template-hash': 'abc' },
  ownerReferences: [{ kind: 'ReplicaSet', name: 'web-abc', controller: true }],
};
const env = [{ name: 'DB', value: 'db@azurekeyvault' }];
const web = workloadFromDeployment('Deployment', deployment('web', [container({ env })]));

describe('consumers', () => {
  it.each([
    [
      { kind: 'ReplicaSet', name: 'web-abc' },
      { kind: 'Deployment', name: 'web' },
    ],
    [
      { kind: 'ReplicaSet', name: 'alone' },
      { kind: 'ReplicaSet', name: 'alone' },
    ],
    [
      { kind: 'Job', name: 'backup-29406180' },
      { kind: 'CronJob', name: 'backup' },
    ],
    [
      { kind: 'Job', name: 'migrate' },
      { kind: 'Job', name: 'migrate' },
    ],
    [
      { kind: 'StatefulSet', name: 'db' },
      { kind: 'StatefulSet', name: 'db' },
    ],
  ])('owned by %j are of %j', (owner, want) => {
    const ownerReferences = [{ ...owner, controller: true }];
    expect(ownerOf(pod('p', [], { labels: ofWeb.labels, ownerReferences }))).toEqual(want);
  });

  it('have no owner without a controller', () => {
    expect(ownerOf(pod('p', []))).toBeUndefined();
  });

  it('are workloads with their pods, and pods without a workload', () => {
    const pods = [
      pod('web-1', [injected({ FROM: 'api@azurekeyvault' }, { env })], ofWeb),
      pod('alone', [container({ env })]),
      {
        ...pod('elsewhere', [container({ env })]),
        metadata: { name: 'e', namespace: 'other', uid: 'e' },
      },
    ];
    const subjects = subjectsOf([web], pods);
    expect(consumersOf(resource('db'), subjects)).toMatchObject([
      { kind: 'Deployment', name: 'web', pods: 1, outdatedPods: 0, uid: 'uid-web' },
      { kind: 'Pod', name: 'alone', pods: 1 },
    ]);
    expect(consumersOf(resource('api'), subjects)).toMatchObject([
      { kind: 'Deployment', name: 'web' },
    ]);
    expect(consumersOf(resource('none'), subjects)).toEqual([]);
  });

  it('use outputs, too', () => {
    const shared = resource('out', { spec: { output: { secret: { name: 'out-secret' } } } });
    const uses = container({ envFrom: [{ secretRef: { name: 'out-secret' } }] });
    const subjects = subjectsOf(
      [workloadFromDeployment('Deployment', deployment('web', [uses]))],
      []
    );
    expect(consumersOf(shared, subjects)).toMatchObject([
      { name: 'web', uses: [{ kind: 'output' }] },
    ]);
    expect(edgesOf([shared], subjects)).toEqual([
      { id: 'akv2k8s-uid-out-uid-web', source: 'uid-out', target: 'uid-web', label: 'output' },
    ]);
  });

  it('have the version and what they wait for from the status', () => {
    const restarted = resource('db', {
      status: {
        workloads: [
          { kind: 'Deployment', name: 'web', version: '0123', pending: 'it is paused' },
          { kind: 'Rollout', name: 'argo', version: '0122' },
        ],
      },
    });
    expect(consumersOf(restarted, subjectsOf([web], []))).toMatchObject([
      { kind: 'Deployment', name: 'web', version: '0123', pending: 'it is paused' },
      { kind: 'Rollout', name: 'argo', version: '0122', uid: '', uses: [] },
    ]);
  });

  it('are outdated if a variable is older than the value, and not for files', () => {
    const changed = resource('db', { status: { lastAzureUpdate: '2026-11-26T00:00:00Z' } });
    const one = pod('p', [container({ env })]);
    const [{ uses }] = consumersOf(changed, subjectsOf([], [one]));
    expect(isOutdated(changed, one, uses)).toBe(true);
    expect(isOutdated(resource('db'), one, uses)).toBe(false);
    expect(isOutdated(resource('db', { status: {} }), one, uses)).toBe(false);
    expect(
      isOutdated(
        changed,
        one,
        uses.map(use => ({ ...use, kind: 'file' as const }))
      )
    ).toBe(false);
  });

  it('of thousands of resources and pods are found in time, within a limit', () => {
    const resources = Array.from({ length: 3_000 }, (_, i) => resource(`r${i}`));
    const pods = Array.from({ length: 3_000 }, (_, i) =>
      pod(`p${i}`, [
        container({
          env: [0, 1, 2].map(k => ({ name: `V${k}`, value: `r${(i + k) % 3_000}@azurekeyvault` })),
        }),
      ])
    );
    const started = performance.now();
    const subjects = subjectsOf([], pods);
    expect(edgesOf(resources, subjects)).toHaveLength(MAX_EDGES);
    expect(consumersOf(resources[7], subjects)).toHaveLength(3);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});
