import { printable, splitMessage } from './text';
import { Condition, Resource, VaultObject } from './types';

export type State = 'success' | 'warning' | 'error' | '';

export function conditionOf(resource: Resource, type: string): Condition | undefined {
  return resource.status?.conditions?.find(condition => condition.type === type);
}

export function isTrue(resource: Resource, type: string): boolean {
  return conditionOf(resource, type)?.status === 'True';
}

/** readiness returns the status of the condition Ready as kubectl akv2k8s explain does, with its reason. */
export function readiness(resource: Resource): { text: string; reason: string; state: State } {
  const ready = conditionOf(resource, 'Ready');
  if (!ready) {
    return { text: 'Unknown', reason: 'not read yet', state: '' };
  }
  const observed = ready.observedGeneration ?? 0;
  if (observed !== 0 && observed !== (resource.metadata.generation ?? 0)) {
    return { text: 'Unknown', reason: 'changed since it was read', state: '' };
  }
  if (ready.status === 'True') {
    return { text: 'True', reason: '', state: isTrue(resource, 'Stale') ? 'warning' : 'success' };
  }
  return {
    text: printable(ready.status),
    reason: printable(ready.reason ?? ''),
    state: ready.status === 'False' ? 'error' : '',
  };
}

/** lastError returns cause and next step of the condition Ready; undefined if the resource is ready or not read. */
export function lastError(resource: Resource) {
  const ready = conditionOf(resource, 'Ready');
  if (!ready || ready.status !== 'False') {
    return undefined;
  }
  const { cause, next } = splitMessage(ready.message ?? '');
  const reason = printable(ready.reason ?? '');
  return { reason, cause, next: next || nextStepFor(reason), since: ready.lastTransitionTime };
}

/** nextStepFor returns the general next step for a reason, as kubectl akv2k8s explain does. */
export function nextStepFor(reason: string): string {
  switch (reason) {
    case 'Throttled':
    case 'VaultUnavailable':
      return 'wait: the controller retries within half a minute';
    case 'InvalidSpec':
      return 'change the spec; the controller does not retry before';
    case 'AccessDenied':
    case 'AuthenticationFailed':
      return 'do what the message says; the controller retries within 5 minutes, or at once with "Refresh now"';
    case 'InternalError':
      return 'see the log of the controller';
  }
  return 'do what the message says, and then choose "Refresh now"';
}

export interface Expiry {
  state: 'none' | 'later' | 'soon' | 'expired';
  /** At is the expiry date in milliseconds; Infinity if there is none, so that it sorts last. */
  at: number;
}

export function expiryOf(resource: Resource, now: number): Expiry {
  const at = Date.parse(resource.status?.expires ?? '');
  if (Number.isNaN(at)) {
    return { state: 'none', at: Infinity };
  }
  if (at <= now) {
    return { state: 'expired', at };
  }
  return { state: isTrue(resource, 'ExpiringSoon') ? 'soon' : 'later', at };
}

/** vaultObjects returns the vault objects of a resource with their data keys. */
export function vaultObjects(resource: Resource): (VaultObject & { dataKey?: string })[] {
  const { vault, data } = resource.spec ?? {};
  const single = vault?.object?.name ? [{ ...vault.object }] : [];
  return [...single, ...(data ?? []).map(item => ({ ...item.object, dataKey: item.dataKey }))];
}

/** objectText names the vault objects of a resource in one short text. */
export function objectText(resource: Resource): string {
  const names = vaultObjects(resource).map(object => object.name);
  const searches = resource.spec?.dataFrom?.length ?? 0;
  if (searches > 0) {
    names.push(searches === 1 ? 'a search' : `${searches} searches`);
  }
  return names.length > 2 ? `${names[0]} and ${names.length - 1} more` : names.join(', ');
}

/** typeText names the types of the vault objects of a resource, each once. */
export function typeText(resource: Resource): string {
  const types = new Set(vaultObjects(resource).map(object => object.type));
  if ((resource.spec?.dataFrom?.length ?? 0) > 0) {
    types.add('secret');
  }
  return [...types].join(', ');
}

/** Output is a Secret or ConfigMap that the controller writes for a resource. */
export interface Output {
  kind: 'Secret' | 'ConfigMap';
  name: string;
  /** Written says that the status names it, so the controller has written it. */
  written: boolean;
}

export function outputsOf(resource: Resource): Output[] {
  const { secret, configMap } = resource.spec?.output ?? {};
  const { secretName, configMapName } = resource.status ?? {};
  const found: Output[] = [];
  if (secret?.name) {
    found.push({ kind: 'Secret', name: secret.name, written: secretName === secret.name });
  }
  if (configMap?.name) {
    found.push({
      kind: 'ConfigMap',
      name: configMap.name,
      written: configMapName === configMap.name,
    });
  }
  return found;
}

/** identityText says which identity reads the vault. */
export function identityText(resource: Resource): string {
  const name = resource.spec?.vault?.azureIdentity?.name;
  return name
    ? `ServiceAccount ${resource.metadata.namespace}/${name}, if the installation allows it`
    : 'the identity of the installation';
}
