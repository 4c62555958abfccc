import { ApiProxy, K8s } from '@kinvolk/headlamp-plugin/lib';
import { useEffect, useMemo, useState } from 'react';
import { useSelector } from 'react-redux';
import { Subject, subjectsOf, workloadFromDeployment } from './lib/consumers';
import { MAX_CONFIG_MAPS, MAX_OBJECTS } from './lib/limits';
import { compareText } from './lib/text';
import { Deployment, Pod, Workload } from './lib/types';
import { ConfigMaps, configMapsOf } from './lib/uses';

// What the plugin reads from the API server, with the user's rights. It reads no Secret; a test and a lint rule check
// that.

/** ListError is why a list could not be read. */
export interface ListError {
  /** Right is the right that the list needs, such as "list pods". */
  right: string;
  status?: number;
  message?: string;
}

/** List is a list of objects of one kind; items is null while it loads. */
export interface List<T> {
  items: T[] | null;
  error?: ListError;
}

/** Namespaces to read: one, several, or all if it is empty or undefined. */
type Namespaces = string | string[] | undefined;

interface ListableClass {
  apiName: string;
  useList(options: object): {
    items: { jsonData: unknown }[] | null;
    errors: { status?: number; message?: string }[] | null;
  };
}

/** useObjects lists at most MAX_OBJECTS objects, and follows their changes. */
export function useObjects<T>(kubeClass: unknown, namespace?: Namespaces): List<T> {
  const { apiName, useList } = kubeClass as ListableClass;
  const { items, errors } = useList.call(kubeClass, { namespace, limit: MAX_OBJECTS });
  const failed = errors?.[0];
  return useMemo(() => {
    const objects = items?.slice(0, MAX_OBJECTS).map(item => item.jsonData as T) ?? null;
    if (!failed) {
      return { items: objects };
    }
    const error = { right: `list ${apiName}`, status: failed.status, message: failed.message };
    return { items: objects ?? [], error };
  }, [items, failed, apiName]);
}

/** useSelectedNamespaces returns the namespaces of Headlamp's filter; none means all. */
export function useSelectedNamespaces(): string[] {
  const selected = useSelector(
    (state: { filter?: { namespaces?: Set<string> } }) => state.filter?.namespaces
  );
  return useMemo(() => [...(selected ?? [])], [selected]);
}

interface CronJob {
  metadata: Deployment['metadata'];
  spec?: { jobTemplate?: { spec?: { template?: Workload['template'] } } };
}

export interface Subjects {
  /** Items are the workloads and pods with their uses; null while they load. */
  items: Subject[] | null;
  errors: ListError[];
  /** Truncated says that a list has more than MAX_OBJECTS objects. */
  truncated: boolean;
}

const readNoConfigMap: string[] = [];

/** useSubjects reads the workloads and pods of namespaces. With one namespace, it also reads the ConfigMaps in which
 * they can have references. */
export function useSubjects(namespace: Namespaces): Subjects {
  const classes = K8s.ResourceClasses;
  const pods = useObjects<Pod>(classes.Pod, namespace);
  const deployments = useObjects<Deployment>(classes.Deployment, namespace);
  const statefulSets = useObjects<Deployment>(classes.StatefulSet, namespace);
  const daemonSets = useObjects<Deployment>(classes.DaemonSet, namespace);
  const cronJobs = useObjects<CronJob>(classes.CronJob, namespace);

  const workloads = useMemo(
    () => [
      ...(deployments.items ?? []).map(d => workloadFromDeployment('Deployment', d)),
      ...(statefulSets.items ?? []).map(s => workloadFromDeployment('StatefulSet', s)),
      ...(daemonSets.items ?? []).map(d => workloadFromDeployment('DaemonSet', d)),
      ...(cronJobs.items ?? []).map(({ metadata, spec }) => ({
        kind: 'CronJob',
        metadata,
        template: spec?.jobTemplate?.spec?.template ?? {},
      })),
    ],
    [deployments, statefulSets, daemonSets, cronJobs]
  );
  const one = typeof namespace === 'string' ? namespace : undefined;
  const names = useMemo(() => {
    if (!one) {
      return readNoConfigMap;
    }
    const specs = [...workloads.map(w => w.template.spec), ...(pods.items ?? []).map(p => p.spec)];
    return [...new Set(specs.flatMap(configMapsOf))].sort(compareText).slice(0, MAX_CONFIG_MAPS);
  }, [one, workloads, pods]);
  const configMaps = useConfigMaps(one, names);

  return useMemo(() => {
    const lists = [pods, deployments, statefulSets, daemonSets, cronJobs];
    const isLoading = lists.some(list => list.items === null);
    return {
      items: isLoading ? null : subjectsOf(workloads, pods.items ?? [], configMaps),
      errors: lists.flatMap(list => list.error ?? []),
      truncated: lists.some(list => (list.items?.length ?? 0) >= MAX_OBJECTS),
    };
  }, [pods, deployments, statefulSets, daemonSets, cronJobs, workloads, configMaps]);
}

const noConfigMaps: ConfigMaps = new Map();

/** useConfigMaps reads the ConfigMaps with these names, once for each change of the names. Those that the user may not
 * read, or that do not exist, are missing. */
function useConfigMaps(namespace: string | undefined, names: string[]): ConfigMaps {
  const [read, setRead] = useState(noConfigMaps);
  const key = names.join(',');
  useEffect(() => {
    let isCurrent = true;
    if (!namespace || key === '') {
      setRead(noConfigMaps);
      return undefined;
    }
    const requests = key.split(',').map(async (name): Promise<[string, Record<string, string>]> => {
      const path = `/api/v1/namespaces/${encodeURIComponent(
        namespace
      )}/configmaps/${encodeURIComponent(name)}`;
      const object = await ApiProxy.request(path);
      return [name, object?.data ?? {}];
    });
    Promise.allSettled(requests).then(results => {
      if (isCurrent) {
        setRead(new Map(results.flatMap(r => (r.status === 'fulfilled' ? [r.value] : []))));
      }
    });
    return () => {
      isCurrent = false;
    };
  }, [namespace, key]);
  return read;
}
