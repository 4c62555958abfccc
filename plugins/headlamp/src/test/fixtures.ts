// Objects as the API server returns them.
import { Container, Deployment, Pod, Resource } from '../lib/types';

export const now = Date.parse('2026-11-30T03:00:00Z');

export function resource(name: string, change: Partial<Resource> = {}): Resource {
  return {
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-${name}`,
      generation: 2,
      creationTimestamp: '2026-11-01T00:00:00Z',
    },
    spec: { vault: { name: 'vault', object: { name: `${name}-object`, type: 'secret' } } },
    status: {
      lastAzureUpdate: '2026-11-20T00:00:00Z',
      vaultVersion: '0123',
      conditions: [{ type: 'Ready', status: 'True', reason: 'Synced', observedGeneration: 2 }],
    },
    ...change,
  };
}

export function failed(name: string, reason: string, message: string): Resource {
  const conditions = [{ type: 'Ready', status: 'False', reason, message }];
  return resource(name, { status: { conditions } });
}

export function container(change: Partial<Container> = {}): Container {
  return { name: 'app', command: ['/app'], ...change };
}

/** injected is a container as the webhook returns it, with the references of ConfigMaps and Secrets. */
export function injected(
  recorded: Record<string, string>,
  change: Partial<Container> = {}
): Container {
  return container({
    command: ['/azure-keyvault/azure-keyvault-env'],
    ...change,
    env: [
      ...(change.env ?? []),
      { name: 'ENV_INJECTOR_REFERENCES', value: JSON.stringify(recorded) },
    ],
  });
}

export function pod(
  name: string,
  containers: Container[],
  change: Partial<Pod['metadata']> = {}
): Pod {
  return {
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, ...change },
    spec: { containers },
    status: {
      phase: 'Running',
      containerStatuses: containers.map(c => ({
        name: c.name,
        state: { running: { startedAt: '2026-11-25T00:00:00Z' } },
      })),
    },
  };
}

export function deployment(name: string, containers: Container[]): Deployment {
  return {
    metadata: { name, namespace: 'shop', uid: `uid-${name}` },
    spec: { replicas: 1, template: { metadata: {}, spec: { containers } } },
    status: { readyReplicas: 1, updatedReplicas: 1 },
  };
}

/** component is a Deployment of the chart. */
export function component(name: string, change: Partial<Deployment['status']> = {}): Deployment {
  const base = deployment(name, [container({ name, image: `ghcr.io/akv2k8s/${name}` })]);
  return {
    ...base,
    metadata: {
      ...base.metadata,
      namespace: 'akv2k8s',
      labels: { 'app.kubernetes.io/part-of': 'akv2k8s' },
    },
    status: { ...base.status, ...change },
  };
}

/** hostile are texts that a page must show as text. */
export const hostile = '<img src=x onerror="window.attacked=1">\u202e';
