import { requestedFiles } from './files';
import { MAX_FILES, MAX_RECORD, MAX_USES } from './limits';
import { parseReference, Reference } from './reference';
import { asRecord } from './text';
import { Container, EnvVar, Metadata, PodSpec } from './types';

// Which AzureKeyVaultSecrets a pod or a pod template uses. For an injected pod, the webhook has recorded the references
// of ConfigMaps and Secrets in the pod's spec, so the plugin needs to read neither.

const injectorPath = '/azure-keyvault/azure-keyvault-env';
const initContainer = 'copy-azurekeyvault-env';
const filesContainers = ['sync-azurekeyvault-files', 'write-azurekeyvault-files'];
const addedContainers = [initContainer, 'check-azurekeyvault-env', ...filesContainers];
const volumeEnvFiles = 'akv2k8s-env-files';
const volumeFiles = 'akv2k8s-files';

/** Use is a variable, a file or an output through which a container gets a value of a vault. */
export interface Use {
  /** Container that gets the value; empty if it is the pod as a whole. */
  container: string;
  kind: 'variable' | 'file' | 'output';
  /** Target is the name of the variable, the path of the file, or how the output is used. */
  target: string;
  /** From is where the reference stands, such as env or ConfigMap "shop". */
  from: string;
  /** Reference is set for variables and files. */
  reference?: Reference;
  /** Output is set for outputs. */
  output?: { kind: 'Secret' | 'ConfigMap'; name: string };
}

export interface PodUses {
  uses: Use[];
  /** Injected says that any container gets values. */
  injected: boolean;
  /** Unread are sources that can have further references, such as Secret "shop". */
  unread: string[];
  /** Truncated says that the pod has more than MAX_USES uses. */
  truncated: boolean;
}

/** ConfigMaps are the data of ConfigMaps of the namespace by name; those that were not read are missing. */
export type ConfigMaps = ReadonlyMap<string, Record<string, string>>;

/** usesOf returns the uses of a pod or a pod template. */
export function usesOf(
  metadata: Partial<Metadata> | undefined,
  spec: PodSpec | undefined,
  configMaps: ConfigMaps = new Map()
): PodUses {
  const found = new Collector();
  for (const container of containersOf(spec)) {
    const delivery = deliveryOf(container);
    const files = writtenFiles(spec, container);
    found.injected ||= delivery !== 'none' || files.length > 0;
    addVariables(found, container, delivery, spec, metadata, configMaps);
    for (const use of files.length > 0 ? files : filesOfAnnotations(metadata, container.name)) {
      found.add(use);
    }
    addOutputsOfContainer(found, container);
  }
  addOutputsOfPod(found, spec);
  return found.result();
}

/** configMapsOf returns the names of the ConfigMaps whose data can have references. */
export function configMapsOf(spec: PodSpec | undefined): string[] {
  const names = new Set<string>();
  for (const container of containersOf(spec)) {
    if (deliveryOf(container) !== 'none') {
      continue; // the references are recorded
    }
    for (const variable of container.env ?? []) {
      names.add(variable.valueFrom?.configMapKeyRef?.name ?? '');
    }
    for (const source of container.envFrom ?? []) {
      names.add(source.configMapRef?.name ?? '');
    }
  }
  names.delete('');
  return [...names];
}

class Collector {
  injected = false;
  private readonly found = new Map<string, Use>();
  private readonly notRead = new Set<string>();
  private truncated = false;

  /** A later use of the same variable or file replaces an earlier one. */
  add(use: Use) {
    const key = JSON.stringify([use.container, use.kind, use.target, use.output]);
    if (this.found.size >= MAX_USES && !this.found.has(key)) {
      this.truncated = true;
      return;
    }
    this.found.set(key, use);
  }

  addVariable(container: string, variable: string, text: unknown, from: string) {
    const reference = parseReference(text);
    if (reference) {
      this.add({ container, kind: 'variable', target: variable, from, reference });
    }
  }

  addOutput(
    container: string,
    kind: 'Secret' | 'ConfigMap',
    name: string | undefined,
    how: string
  ) {
    if (name) {
      this.add({ container, kind: 'output', target: how, from: how, output: { kind, name } });
    }
  }

  addUnread(source: string) {
    if (this.notRead.size < MAX_USES) {
      this.notRead.add(source);
    }
  }

  result(): PodUses {
    return {
      uses: [...this.found.values()],
      injected: this.injected,
      unread: [...this.notRead],
      truncated: this.truncated,
    };
  }
}

type Delivery = 'injector' | 'envfile' | 'none';

function deliveryOf(container: Container): Delivery {
  if (container.command?.length === 1 && container.command[0] === injectorPath) {
    return 'injector';
  }
  const fromFile = (v: EnvVar) => v.valueFrom?.fileKeyRef?.volumeName === volumeEnvFiles;
  return container.env?.some(fromFile) ? 'envfile' : 'none';
}

/** containersOf returns all containers of a pod but those that the webhook added. */
function containersOf(spec: PodSpec | undefined): Container[] {
  return [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ].filter(container => !addedContainers.includes(container.name));
}

function addVariables(
  found: Collector,
  container: Container,
  delivery: Delivery,
  spec: PodSpec | undefined,
  metadata: Partial<Metadata> | undefined,
  configMaps: ConfigMaps
) {
  for (const [name, text] of recordIn(container, 'ENV_INJECTOR_IMAGE_REFERENCES')) {
    found.addVariable(container.name, name, text, 'the image');
  }
  if (delivery === 'none') {
    addEnvFrom(found, container, configMaps);
  }
  for (const variable of container.env ?? []) {
    if (!variable.valueFrom) {
      found.addVariable(container.name, variable.name, variable.value, 'env');
    } else if (delivery === 'none') {
      addValueFrom(found, container.name, variable, metadata, configMaps);
    }
  }
  for (const [name, text] of recorded(container, delivery, spec)) {
    found.addVariable(container.name, name, text, 'ConfigMap, Secret or field');
  }
}

function addEnvFrom(found: Collector, container: Container, configMaps: ConfigMaps) {
  for (const { prefix, configMapRef, secretRef } of container.envFrom ?? []) {
    if (secretRef?.name) {
      found.addUnread(`Secret "${secretRef.name}"`);
    }
    if (!configMapRef?.name) {
      continue;
    }
    const data = configMaps.get(configMapRef.name);
    if (!data) {
      found.addUnread(`ConfigMap "${configMapRef.name}"`);
    }
    for (const [key, text] of Object.entries(data ?? {})) {
      found.addVariable(
        container.name,
        (prefix ?? '') + key,
        text,
        `ConfigMap "${configMapRef.name}"`
      );
    }
  }
}

function addValueFrom(
  found: Collector,
  container: string,
  variable: EnvVar,
  metadata: Partial<Metadata> | undefined,
  configMaps: ConfigMaps
) {
  const { configMapKeyRef, secretKeyRef, fieldRef } = variable.valueFrom ?? {};
  if (secretKeyRef?.name) {
    found.addUnread(`Secret "${secretKeyRef.name}"`);
  }
  if (configMapKeyRef?.name) {
    const data = configMaps.get(configMapKeyRef.name);
    if (!data) {
      found.addUnread(`ConfigMap "${configMapKeyRef.name}"`);
    }
    const text = new Map(Object.entries(data ?? {})).get(configMapKeyRef.key);
    found.addVariable(container, variable.name, text, `ConfigMap "${configMapKeyRef.name}"`);
  }
  const field = /^metadata\.(annotations|labels)\['([^']+)'\]$/.exec(fieldRef?.fieldPath ?? '');
  if (field) {
    const texts = metadata?.[field[1] as 'annotations' | 'labels'];
    found.addVariable(container, variable.name, texts?.[field[2]], `${field[1]} of the pod`);
  }
}

/** recorded returns the references that the webhook recorded in the spec when the pod was created. */
function recorded(
  container: Container,
  delivery: Delivery,
  spec: PodSpec | undefined
): [string, string][] {
  if (delivery === 'injector') {
    return recordIn(container, 'ENV_INJECTOR_REFERENCES');
  }
  const writer = spec?.initContainers?.find(c => c.name === initContainer);
  if (delivery !== 'envfile' || !writer) {
    return [];
  }
  const prefix = container.name + '/';
  return recordIn(writer, 'ENV_INJECTOR_REFERENCES')
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, text]) => [name.slice(prefix.length), text]);
}

function recordIn(container: Container, variable: string): [string, string][] {
  const texts = Object.entries(asRecord(parseRecord(container, variable)) ?? {});
  return texts.filter((entry): entry is [string, string] => typeof entry[1] === 'string');
}

function parseRecord(container: Container, variable: string): unknown {
  const text = container.env?.find(v => v.name === variable && !v.valueFrom)?.value;
  if (typeof text !== 'string' || text.length > MAX_RECORD) {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** writtenFiles returns the files of a container, as the webhook recorded them. */
function writtenFiles(spec: PodSpec | undefined, container: Container): Use[] {
  const writers = (spec?.initContainers ?? []).filter(c => filesContainers.includes(c.name));
  const writer = writers.find(c => c.name === filesContainers[0]) ?? writers[0];
  const directories =
    writer && asRecord(asRecord(parseRecord(writer, 'ENV_INJECTOR_FILES'))?.directories);
  if (!directories) {
    return [];
  }
  const files: Use[] = [];
  for (const mount of container.volumeMounts ?? []) {
    const entries = mount.name === volumeFiles ? directories[mount.subPath ?? ''] : undefined;
    for (const entry of Array.isArray(entries) ? entries.slice(0, MAX_FILES) : []) {
      const { path, folder, from } = asRecord(entry) ?? {};
      const reference = parseReference(from);
      if (reference && typeof path === 'string') {
        const target =
          mount.mountPath + (path === '.' ? '' : '/' + path) + (folder === true ? '/' : '');
        files.push({
          container: container.name,
          kind: 'file',
          target,
          from: 'annotation akv2k8s.io/files',
          reference,
        });
      }
    }
  }
  return files;
}

function filesOfAnnotations(metadata: Partial<Metadata> | undefined, container: string): Use[] {
  return requestedFiles(metadata?.annotations, container).map(
    ({ path, reference, annotation }) => ({
      container,
      kind: 'file',
      target: path,
      from: `annotation ${annotation}`,
      reference,
    })
  );
}

function addOutputsOfContainer(found: Collector, container: Container) {
  for (const { valueFrom, name } of container.env ?? []) {
    found.addOutput(container.name, 'Secret', valueFrom?.secretKeyRef?.name, `variable ${name}`);
    found.addOutput(
      container.name,
      'ConfigMap',
      valueFrom?.configMapKeyRef?.name,
      `variable ${name}`
    );
  }
  for (const { secretRef, configMapRef } of container.envFrom ?? []) {
    found.addOutput(container.name, 'Secret', secretRef?.name, 'envFrom');
    found.addOutput(container.name, 'ConfigMap', configMapRef?.name, 'envFrom');
  }
}

function addOutputsOfPod(found: Collector, spec: PodSpec | undefined) {
  for (const { name, secret, configMap, projected } of spec?.volumes ?? []) {
    const how = `volume ${name}`;
    found.addOutput('', 'Secret', secret?.secretName, how);
    found.addOutput('', 'ConfigMap', configMap?.name, how);
    for (const source of projected?.sources ?? []) {
      found.addOutput('', 'Secret', source.secret?.name, how);
      found.addOutput('', 'ConfigMap', source.configMap?.name, how);
    }
  }
  for (const { name } of spec?.imagePullSecrets ?? []) {
    found.addOutput('', 'Secret', name, 'imagePullSecrets');
  }
}
