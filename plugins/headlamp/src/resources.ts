import { K8s } from '@kinvolk/headlamp-plugin/lib';
import type { KubeObjectInterface } from '@kinvolk/headlamp-plugin/lib/K8s/cluster';
import { Resource, WebhookConfiguration } from './lib/types';

const { KubeObject } = K8s.cluster;

/** AzureKeyVaultSecret is the resource in Headlamp's model. The routes of src/index.tsx have its names. */
export class AzureKeyVaultSecret extends KubeObject<KubeObjectInterface & Resource> {
  static kind = 'AzureKeyVaultSecret';
  static apiName = 'azurekeyvaultsecrets';
  static apiVersion = 'spv.no/v2beta1';
  static isNamespaced = true;

  static get listRoute() {
    return 'azurekeyvaultsecrets';
  }
}

/** MutatingWebhookConfiguration is not in the classes that Headlamp gives to plugins. */
export class MutatingWebhookConfiguration extends KubeObject<
  KubeObjectInterface & WebhookConfiguration
> {
  static kind = 'MutatingWebhookConfiguration';
  static apiName = 'mutatingwebhookconfigurations';
  static apiVersion = 'admissionregistration.k8s.io/v1';
  static isNamespaced = false;
}
