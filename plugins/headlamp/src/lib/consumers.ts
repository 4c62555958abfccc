import { MAX_EDGES } from './limits';
import { outputsOf } from './status';
import { compareText } from './text';
import { Deployment, Pod, Resource, Workload } from './types';
import { ConfigMaps, PodUses, Use, usesOf } from './uses';

// Which workloads and pods use which resources.

/** Consumer is a workload, or a pod without one, that uses a resource. */
export interface Consumer {
  kind: string;
  namespace: string;
  name: string;
  /** Uid is empty if the object was not read: only the status of the resource names it. */
  uid: string;
  uses: Use[];
  /** Pods of the workload that run; those with values from before the last change are outdated. */
  pods: number;
  outdatedPods: number;
  /** Version and Pending are those of status.workloads. */
  version?: string;
  pending?: string;
}

/** Subject is a workload or a pod, with all its uses. */
export interface Subject {
  kind: string;
  namespace: string;
  name: string;
  uid: string;
  uses: PodUses;
  pods: Pod[];
}

/** workloadFromDeployment also takes a StatefulSet, DaemonSet or Job, which have the same form. */
export function workloadFromDeployment(kind: string, object: Deployment): Workload {
  return { kind, metadata: object.metadata, template: object.spec?.template ?? {} };
}

/** subjectsOf joins pods with their workloads. Pods whose workload was not read are subjects of their own. */
export function subjectsOf(
  workloads: Workload[],
  pods: Pod[],
  configMaps: ConfigMaps = new Map()
): Subject[] {
  const subjects = new Map<string, Subject>();
  for (const { kind, metadata, template } of workloads) {
    const { name, namespace = '', uid = '' } = metadata;
    const uses = usesOf(template.metadata, template.spec, configMaps);
    subjects.set(keyOf(kind, namespace, name), { kind, namespace, name, uid, uses, pods: [] });
  }
  for (const pod of pods) {
    const { name, namespace = '', uid = '' } = pod.metadata;
    const uses = usesOf(pod.metadata, pod.spec, configMaps);
    const owner = ownerOf(pod);
    const subject = owner && subjects.get(keyOf(owner.kind, namespace, owner.name));
    if (!subject) {
      subjects.set(keyOf('Pod', namespace, name), {
        kind: 'Pod',
        namespace,
        name,
        uid,
        uses,
        pods: [pod],
      });
      continue;
    }
    subject.pods.push(pod);
    if (uses.injected && !subject.uses.injected) {
      // The spec of an injected pod has the references of ConfigMaps and Secrets, which the template does not have.
      subject.uses = { ...uses, unread: [] };
    }
  }
  return [...subjects.values()];
}

function keyOf(kind: string, namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}

/** ownerOf returns the workload of a pod. A ReplicaSet of a Deployment has the Deployment's name and a hash, and a Job
 * of a CronJob the CronJob's name and a number. */
export function ownerOf(pod: Pod): { kind: string; name: string } | undefined {
  const owner = pod.metadata.ownerReferences?.find(reference => reference.controller);
  if (!owner) {
    return undefined;
  }
  const hash = pod.metadata.labels?.['pod-template-hash'];
  if (owner.kind === 'ReplicaSet' && hash && owner.name.endsWith('-' + hash)) {
    return { kind: 'Deployment', name: owner.name.slice(0, -hash.length - 1) };
  }
  const cronJob = owner.kind === 'Job' && /^(.+)-[0-9]{8,11}$/.exec(owner.name);
  if (cronJob) {
    return { kind: 'CronJob', name: cronJob[1] };
  }
  return { kind: owner.kind, name: owner.name };
}

/** usesOfResource returns those uses that are of a resource: by reference, or by an output. */
export function usesOfResource(resource: Resource, uses: Use[]): Use[] {
  const outputs = outputsOf(resource);
  return uses.filter(({ reference, output }) =>
    reference
      ? reference.name === resource.metadata.name
      : outputs.some(o => o.kind === output?.kind && o.name === output?.name)
  );
}

/** consumersOf returns the consumers of a resource among the subjects of its namespace, and those that only its status
 * names. */
export function consumersOf(resource: Resource, subjects: Subject[]): Consumer[] {
  const namespace = resource.metadata.namespace ?? '';
  const known = new Map((resource.status?.workloads ?? []).map(w => [`${w.kind}/${w.name}`, w]));
  const found: Consumer[] = [];
  for (const subject of subjects) {
    const uses = subject.namespace === namespace ? usesOfResource(resource, subject.uses.uses) : [];
    const status = known.get(`${subject.kind}/${subject.name}`);
    if (uses.length === 0 && (!status || subject.namespace !== namespace)) {
      continue;
    }
    known.delete(`${subject.kind}/${subject.name}`);
    const running = subject.pods.filter(pod => pod.status?.phase === 'Running');
    found.push({
      kind: subject.kind,
      namespace,
      name: subject.name,
      uid: subject.uid,
      uses,
      pods: running.length,
      outdatedPods: running.filter(pod => isOutdated(resource, pod, uses)).length,
      version: status?.version,
      pending: status?.pending,
    });
  }
  for (const { kind, name, version, pending } of known.values()) {
    const rest = { uid: '', uses: [], pods: 0, outdatedPods: 0 };
    found.push({ kind, namespace, name, version, pending, ...rest });
  }
  return found.sort((a, b) => compareText(`${a.kind}/${a.name}`, `${b.kind}/${b.name}`));
}

/** isOutdated reports whether a container with a variable of the resource started before the value changed. Files
 * follow the vault, so they are never outdated. */
export function isOutdated(resource: Resource, pod: Pod, uses: Use[]): boolean {
  const changed = Date.parse(resource.status?.lastAzureUpdate ?? '');
  const isVariable = (use: Use) =>
    use.kind === 'variable' ||
    (use.kind === 'output' && (use.target === 'envFrom' || use.target.startsWith('variable ')));
  const containers = new Set(uses.filter(isVariable).map(use => use.container));
  return (pod.status?.containerStatuses ?? []).some(status => {
    const started = Date.parse(status.state?.running?.startedAt ?? '');
    return containers.has(status.name) && started < changed;
  });
}

export interface GraphEdge {
  id: string;
  source: string;
  target: string;
  label: string;
}

/** edgesOf returns the edges from resources to their consumers, by uid; at most MAX_EDGES. */
export function edgesOf(resources: Resource[], subjects: Subject[]): GraphEdge[] {
  const byReference = new Map<string, Resource[]>();
  const byOutput = new Map<string, Resource[]>();
  for (const resource of resources) {
    const { name, namespace = '' } = resource.metadata;
    push(byReference, `${namespace}/${name}`, resource);
    for (const output of outputsOf(resource)) {
      push(byOutput, `${namespace}/${output.kind}/${output.name}`, resource);
    }
  }
  const edges = new Map<string, GraphEdge>();
  for (const subject of subjects) {
    for (const { kind, reference, output } of subject.uses.uses) {
      const of = reference
        ? byReference.get(`${subject.namespace}/${reference.name}`)
        : byOutput.get(`${subject.namespace}/${output?.kind}/${output?.name}`);
      for (const resource of of ?? []) {
        const source = resource.metadata.uid ?? '';
        const id = `akv2k8s-${source}-${subject.uid}`;
        if (source && subject.uid && edges.size < MAX_EDGES && !edges.has(id)) {
          edges.set(id, { id, source, target: subject.uid, label: kind });
        }
      }
    }
  }
  return [...edges.values()];
}

function push<T>(map: Map<string, T[]>, key: string, value: T) {
  const all = map.get(key);
  if (all) {
    all.push(value);
  } else {
    map.set(key, [value]);
  }
}
