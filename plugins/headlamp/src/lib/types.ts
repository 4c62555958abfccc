// The parts of Kubernetes objects that the plugin reads. Everything is optional that an older version or another tool
// can have left out.

export interface Metadata {
  name: string;
  namespace?: string;
  uid?: string;
  generation?: number;
  creationTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { kind: string; name: string; controller?: boolean }[];
  deletionTimestamp?: string;
}

export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  observedGeneration?: number;
}

export interface VaultObject {
  name: string;
  type: string;
  version?: string;
  contentType?: string;
}

export interface WorkloadStatus {
  kind: string;
  name: string;
  version?: string;
  pending?: string;
}

/** Resource is an AzureKeyVaultSecret as the API server returns it. */
export interface Resource {
  metadata: Metadata;
  spec?: {
    vault?: { name?: string; object?: VaultObject; azureIdentity?: { name?: string } };
    data?: { object: VaultObject; dataKey?: string }[];
    dataFrom?: { match?: { prefix?: string; regexp?: string; tags?: Record<string, string> } }[];
    refreshInterval?: string | number;
    rolloutRestart?: {
      auto?: boolean;
      workloads?: { kind: string; name: string }[];
      selector?: object;
    };
    output?: {
      secret?: { name: string; type?: string; dataKey?: string };
      configMap?: { name: string; dataKey?: string };
    };
  };
  status?: {
    secretName?: string;
    configMapName?: string;
    lastAzureUpdate?: string;
    vaultVersion?: string;
    expires?: string;
    observedGeneration?: number;
    refresh?: string;
    pendingRestart?: { changedAt: string; previousVersion?: string };
    workloads?: WorkloadStatus[];
    moreWorkloads?: number;
    syncedBy?: string;
    conditions?: Condition[];
  };
}

export interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: {
    configMapKeyRef?: { name?: string; key: string };
    secretKeyRef?: { name?: string; key: string };
    fieldRef?: { fieldPath: string };
    fileKeyRef?: { volumeName: string };
  };
}

export interface Container {
  name: string;
  image?: string;
  command?: string[];
  args?: string[];
  env?: EnvVar[];
  envFrom?: { prefix?: string; configMapRef?: { name?: string }; secretRef?: { name?: string } }[];
  volumeMounts?: { name: string; mountPath: string; subPath?: string }[];
}

export interface Volume {
  name: string;
  secret?: { secretName?: string };
  configMap?: { name?: string };
  projected?: { sources?: { secret?: { name?: string }; configMap?: { name?: string } }[] };
}

export interface PodSpec {
  initContainers?: Container[];
  containers?: Container[];
  ephemeralContainers?: Container[];
  volumes?: Volume[];
  imagePullSecrets?: { name?: string }[];
}

export interface ContainerStatus {
  name: string;
  state?: {
    running?: { startedAt?: string };
    terminated?: { exitCode: number; message?: string; reason?: string; finishedAt?: string };
    waiting?: { reason?: string; message?: string };
  };
  lastState?: ContainerStatus['state'];
}

export interface Pod {
  metadata: Metadata;
  spec?: PodSpec;
  status?: {
    phase?: string;
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
}

/** Workload is an object with a pod template, such as a Deployment. */
export interface Workload {
  kind: string;
  metadata: Metadata;
  template: { metadata?: Partial<Metadata>; spec?: PodSpec };
}

export interface Deployment {
  metadata: Metadata;
  spec?: { replicas?: number; template?: { metadata?: Partial<Metadata>; spec?: PodSpec } };
  status?: {
    readyReplicas?: number;
    updatedReplicas?: number;
    conditions?: Condition[];
  };
}

export interface Namespace {
  metadata: Metadata;
}

export interface WebhookConfiguration {
  metadata: Metadata;
  webhooks?: {
    name: string;
    failurePolicy?: string;
    clientConfig?: { caBundle?: string; service?: { name: string; namespace: string } };
    namespaceSelector?: { matchLabels?: Record<string, string> };
    rules?: { operations?: string[]; resources?: string[] }[];
  }[];
}
