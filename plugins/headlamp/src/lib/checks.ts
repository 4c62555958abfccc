import { Subject } from './consumers';
import { Finding } from './report';
import { conditionOf } from './status';
import { compareText, printable, shortList, splitMessage } from './text';
import {
  Condition,
  Container,
  Deployment,
  Namespace,
  Resource,
  WebhookConfiguration,
} from './types';

// The checks of kubectl akv2k8s doctor that need only what a browser can read from the API server. Texts and categories
// are those of the command, so that both can be searched in the documentation.

/** Installation is a release of the chart. */
export interface Installation {
  namespace: string;
  fullname: string;
  controller?: Deployment;
  injector?: Deployment;
}

const webhookName = 'pods.env-injector.admission.spv.no';
const defaultLabel = { name: 'azure-key-vault-env-injection', value: 'enabled' };
const runHelm = 'run helm upgrade with the values of the installation';

/** installationsOf groups the Deployments of akv2k8s among others. */
export function installationsOf(deployments: Deployment[]): Installation[] {
  const found = new Map<string, Installation>();
  for (const deployment of deployments) {
    const { name, namespace = '', labels } = deployment.metadata;
    const match = /^(.+)-(controller|envinjector)$/.exec(name);
    if (
      !match ||
      (labels?.['app.kubernetes.io/part-of'] !== 'akv2k8s' && !hasOurImage(deployment))
    ) {
      continue;
    }
    const key = `${namespace}/${match[1]}`;
    const installation = found.get(key) ?? { namespace, fullname: match[1] };
    installation[match[2] === 'controller' ? 'controller' : 'injector'] = deployment;
    found.set(key, installation);
  }
  return [...found.values()];
}

function hasOurImage(deployment: Deployment): boolean {
  const image = mainContainer(deployment)?.image ?? '';
  return image.includes('akv2k8s/') || image.includes('spvest/azure-keyvault');
}

function mainContainer(deployment: Deployment | undefined): Container | undefined {
  const template = deployment?.spec?.template;
  const main = template?.metadata?.annotations?.['kubectl.kubernetes.io/default-container'];
  const containers = template?.spec?.containers ?? [];
  return containers.find(container => container.name === main) ?? containers[0];
}

/** flagOf returns the value of a flag of a component; empty if it is not set. */
export function flagOf(deployment: Deployment | undefined, name: string): string {
  let value = '';
  for (const arg of mainContainer(deployment)?.args ?? []) {
    const match = /^--?([^=]+)(?:=(.*))?$/s.exec(arg);
    if (match?.[1] === name) {
      value = match[2] ?? 'true';
    }
  }
  return value;
}

/** injectionLabel returns the label of namespaces whose pods an installation injects. */
export function injectionLabel(installation: Installation | undefined) {
  const [name, ...value] = flagOf(installation?.injector, 'namespace-label').split('=');
  return name ? { name, value: value.join('=') } : defaultLabel;
}

/** isV1 reports whether an installation is akv2k8s 1.x, whose Deployments lack a label. */
function isV1({ controller, injector }: Installation): boolean {
  return [controller, injector].some(d => d && !d.metadata.labels?.['app.kubernetes.io/part-of']);
}

/** checkPresence finds out whether akv2k8s is installed. */
export function checkPresence(installations: Installation[]): Finding[] {
  const common = { category: 'Installation', check: 'one installation of akv2k8s exists' };
  if (installations.length === 0) {
    return [
      {
        ...common,
        severity: 'warning',
        what: 'akv2k8s is not installed',
        why: 'no Deployment has the label app.kubernetes.io/part-of=akv2k8s, or you may not list it',
        try: 'install the chart of akv2k8s',
      },
    ];
  }
  const names = installations.map(i => `${i.namespace}/${i.fullname}`);
  return [{ ...common, severity: 'ok', what: `installed: ${shortList(names)}` }];
}

/** checkReadiness checks that the Deployments of the installations are ready. */
export function checkReadiness(installations: Installation[]): Finding[] {
  const common = { category: 'Installation', check: 'the pods of akv2k8s are ready' };
  const deployments = installations.flatMap(({ controller, injector }) =>
    [controller, injector].filter((d): d is Deployment => d !== undefined)
  );
  return deployments.map(d => ({ ...common, ...readinessOf(d) }));
}

function readinessOf(deployment: Deployment): Omit<Finding, 'category' | 'check'> {
  const { name, namespace } = deployment.metadata;
  const wanted = deployment.spec?.replicas ?? 1;
  const ready = deployment.status?.readyReplicas ?? 0;
  const updated = deployment.status?.updatedReplicas ?? 0;
  const object = `deployment/${name}`;
  if (wanted === 0) {
    return {
      severity: 'error',
      object,
      what: 'it is scaled to zero',
      try: 'scale it up',
      command: `kubectl -n ${namespace} scale deployment ${name} --replicas=1`,
    };
  }
  if (ready >= wanted && updated >= wanted) {
    return { severity: 'ok', object, what: `${ready} of ${wanted} replicas are ready` };
  }
  const failure = deployment.status?.conditions?.find(
    c => c.type === 'ReplicaFailure' && c.status === 'True'
  );
  return {
    severity: ready > 0 ? 'warning' : 'error',
    object,
    what:
      ready >= wanted
        ? `its rollout has not finished: ${updated} of ${wanted} pods are of the new version`
        : `${Math.min(ready, wanted)} of ${wanted} replicas are ready`,
    why: printable(failure?.message ?? ''),
    try: failure
      ? 'a policy or quota denies the pods; allow them, see docs/troubleshooting.md'
      : 'see why its pods do not start',
    command: `kubectl -n ${namespace} describe pods`,
  };
}

/** checkWebhooks checks the webhook configuration of each installation. */
export function checkWebhooks(
  installations: Installation[],
  configurations: WebhookConfiguration[]
): Finding[] {
  return installations
    .filter(installation => installation.injector && !isV1(installation))
    .flatMap(installation => {
      const name = `${installation.fullname}-envinjector`;
      const found = checkWebhook(
        installation,
        configurations.find(c => c.metadata.name === name)
      );
      const rest = {
        category: 'Webhook',
        check: 'the API server knows the webhook',
        object: `mutatingwebhookconfiguration/${name}`,
      };
      if (found.length === 0) {
        return [{ ...rest, severity: 'ok' as const, what: 'the API server knows the webhook' }];
      }
      return found.map(finding => ({ ...rest, ...finding }));
    });
}

type Fault = Pick<Finding, 'severity' | 'what' | 'why' | 'try'> & { check?: string };

function checkWebhook(
  installation: Installation,
  configuration: WebhookConfiguration | undefined
): Fault[] {
  const error = (what: string, why: string, check?: string): Fault => ({
    severity: 'error',
    what,
    why,
    try: runHelm,
    ...(check ? { check } : {}),
  });
  if (!configuration) {
    return [
      error(
        'it does not exist',
        'the API server does not call the webhook, so programs get references as text'
      ),
    ];
  }
  const webhook = configuration.webhooks?.find(w => w.name === webhookName);
  if (!webhook) {
    return [error(`it has no webhook ${webhookName}`, 'it was changed after the installation')];
  }
  const found: Fault[] = [];
  const { service, caBundle } = webhook.clientConfig ?? {};
  if (
    service?.namespace !== installation.namespace ||
    service?.name !== `${installation.fullname}-envinjector`
  ) {
    found.push(
      error(
        'it does not name the Service of the env-injector',
        'the API server calls something else'
      )
    );
  }
  const label = injectionLabel(installation);
  if (webhook.namespaceSelector?.matchLabels?.[label.name] !== label.value) {
    found.push(
      error(
        `its namespaceSelector is not the label ${label.name}=${label.value} of the env-injector`,
        'the env-injector denies pods of other namespaces, and is not called for those with the label'
      )
    );
  }
  if (webhook.failurePolicy === 'Ignore') {
    found.push({
      severity: 'warning',
      what: 'its failurePolicy is Ignore',
      why: 'while the env-injector is unavailable, pods start with references as text',
      try: 'set env_injector.failurePolicy to Fail',
    });
  }
  if (!hasCertificate(caBundle)) {
    found.push({
      ...error(
        'its CA bundle has no certificate',
        "the API server can't verify the webhook, and rejects pods with references",
        'the CA bundle of the webhook is in force'
      ),
      try: 'see the log of the env-injector, or of cert-manager, which writes it',
    });
  }
  return found;
}

function hasCertificate(bundle: string | undefined): boolean {
  try {
    return atob(bundle ?? '').includes('-----BEGIN CERTIFICATE-----');
  } catch {
    return false;
  }
}

/** checkResources checks that the resources are in sync, and groups those that are not by their cause. */
export function checkResources(resources: Resource[], now: number): Finding[] {
  const common = { category: 'Namespaces', check: 'the AzureKeyVaultSecrets are in sync' };
  const found = [...groupByCause(resources), ...unwatched(resources, now)];
  if (found.length === 0) {
    const what = `AzureKeyVaultSecrets without an error: ${resources.length}`;
    return [{ ...common, severity: 'ok', what }];
  }
  return found.map(finding => ({ ...common, ...finding }));
}

/** Bad states of conditions. Stale is an effect of Ready. */
const badConditions: { type: string; status: string; severity: 'warning' | 'error' }[] = [
  { type: 'Ready', status: 'False', severity: 'error' },
  { type: 'Stale', status: 'True', severity: 'warning' },
  { type: 'ExpiringSoon', status: 'True', severity: 'warning' },
  { type: 'Contested', status: 'True', severity: 'warning' },
];

function groupByCause(resources: Resource[]) {
  const groups = new Map<
    string,
    { condition: Condition; severity: 'warning' | 'error'; names: string[] }
  >();
  for (const resource of resources) {
    for (const { type, status, severity } of badConditions) {
      const condition = conditionOf(resource, type);
      const isEffect = type === 'Stale' && conditionOf(resource, 'Ready')?.status === 'False';
      if (condition?.status !== status || isEffect) {
        continue;
      }
      const key = JSON.stringify([type, condition.reason, condition.message]);
      const group = groups.get(key) ?? { condition, severity, names: [] };
      group.names.push(nameOf(resource));
      groups.set(key, group);
    }
  }
  return [...groups.values()]
    .map(({ condition, severity, names }) => {
      const { cause, next } = splitMessage(condition.message ?? '');
      const what = `${printable(condition.reason ?? condition.type)}: ${cause}`;
      return { severity, object: `akvs ${shortList(names)}`, what, try: next };
    })
    .sort((a, b) => compareText(a.object + a.what, b.object + b.what));
}

function nameOf({ metadata }: Resource): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** A resource without conditions is new for so long, in milliseconds. */
const unwatchedAge = 2 * 60 * 1000;

function unwatched(resources: Resource[], now: number) {
  const names = resources
    .filter(
      ({ metadata, spec, status }) =>
        (status?.conditions ?? []).length === 0 &&
        spec?.output !== undefined &&
        now - Date.parse(metadata.creationTimestamp ?? '') > unwatchedAge
    )
    .map(nameOf);
  if (names.length === 0) {
    return [];
  }
  return [
    {
      severity: 'error' as const,
      object: `akvs ${shortList(names)}`,
      what: 'no controller has read it',
      why: 'the controller does not run, or does not watch the namespace or the labels of the resource',
      try: 'see the pods of akv2k8s, and the values watchAllNamespaces and controller.env.OBJECT_LABELS',
    },
  ];
}

/** checkReferences checks that the resources to which pods refer exist. */
export function checkReferences(subjects: Subject[], resources: Resource[]): Finding[] {
  const common = {
    category: 'Namespaces',
    check: 'references name AzureKeyVaultSecrets that exist',
  };
  const existing = new Set(resources.map(nameOf));
  const missing = new Map<string, Set<string>>();
  for (const { namespace, kind, name, uses } of subjects) {
    for (const { reference } of uses.uses) {
      const key = reference && `${namespace}/${reference.name}`;
      if (key && !existing.has(key)) {
        missing.set(key, (missing.get(key) ?? new Set()).add(`${kind} ${name}`));
      }
    }
  }
  if (missing.size === 0) {
    return [{ ...common, severity: 'ok', what: 'all references name a resource that exists' }];
  }
  return [...missing]
    .sort(([a], [b]) => compareText(a, b))
    .map(([key, users]) => ({
      ...common,
      severity: 'error',
      object: `akvs ${key}`,
      what: 'it does not exist',
      why: `it concerns ${shortList([...users])}`,
      try: 'create it, or correct the name in the reference',
    }));
}

/** checkInjection checks that the namespaces of pods with references have the label, and that the pods are injected. */
export function checkInjection(
  subjects: Subject[],
  namespaces: Namespace[],
  installations: Installation[]
): Finding[] {
  const common = { category: 'Namespaces', check: 'pods with references are injected' };
  const labels = installations.filter(i => i.injector).map(injectionLabel);
  const wanted = labels.length > 0 ? labels : [defaultLabel];
  const byName = new Map(namespaces.map(n => [n.metadata.name, n.metadata.labels ?? {}]));
  const found: Finding[] = [];
  for (const [name, users] of notInjected(subjects)) {
    const has = byName.get(name);
    if (!has) {
      continue; // the user may not read it
    }
    const { name: label, value } = wanted[0];
    const isLabelled = wanted.some(l => has[l.name] === l.value);
    found.push({
      ...common,
      severity: isLabelled ? 'warning' : 'error',
      object: `namespace/${name}`,
      what: isLabelled
        ? `pods with references are not injected: ${shortList(users)}`
        : `its pods are not injected: it lacks the label ${label}=${value}`,
      why: isLabelled
        ? 'they were created before the env-injector or the labels, or while it did not answer'
        : `the programs of ${shortList(users)} get references as text`,
      try: isLabelled ? 'recreate the pods' : 'add the label, and recreate the pods',
      command: isLabelled ? '' : `kubectl label namespace ${name} ${label}=${value}`,
    });
  }
  if (found.length === 0) {
    return [{ ...common, severity: 'ok', what: 'no pod with a reference lacks injection' }];
  }
  return found.sort((a, b) => compareText(a.object ?? '', b.object ?? ''));
}

/** notInjected returns the subjects with pods that have references and are not injected, by namespace. */
function notInjected(subjects: Subject[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { namespace, kind, name, uses, pods } of subjects) {
    const isExcluded = pods.some(p => p.metadata.labels?.['akv2k8s.io/inject'] === 'false');
    const hasReference = uses.uses.some(use => use.reference);
    if (hasReference && pods.length > 0 && !uses.injected && !isExcluded) {
      found.set(namespace, [...(found.get(namespace) ?? []), `${kind} ${name}`]);
    }
  }
  return found;
}

/** skipped returns the finding of a check for which the user lacks a right, or whose objects could not be read. */
export function skipped(
  category: string,
  check: string,
  right: string,
  error: { status?: number; message?: string }
): Finding {
  if (error.status === 401 || error.status === 403) {
    return {
      category,
      check,
      severity: 'skipped',
      what: `you don't have the right to ${right}`,
      right,
      try: 'ask an administrator of the cluster to grant the right, or for the output of kubectl akv2k8s doctor -o json',
    };
  }
  return {
    category,
    check,
    severity: 'warning',
    what: `the API server could not ${right}`,
    why: printable(error.message ?? ''),
    try: 'reload the page',
  };
}
