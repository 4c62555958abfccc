import { Icon } from '@iconify/react';
import { useMemo } from 'react';
import { useObjects, useSelectedNamespaces, useSubjects } from '../data';
import { edgesOf } from '../lib/consumers';
import { readiness } from '../lib/status';
import { Resource } from '../lib/types';
import { AzureKeyVaultSecret } from '../resources';
import { iconName } from './common';
import { ResourceDetails } from './ResourceDetails';

/** mapSource adds the resources to Headlamp's map, with edges to the workloads and pods that use them. */
export const mapSource = {
  id: 'akv2k8s',
  label: 'Key Vault secrets',
  icon: <Icon icon={iconName} width="100%" height="100%" />,
  useData() {
    const namespaces = useSelectedNamespaces();
    const { items: resources } = useObjects<Resource>(AzureKeyVaultSecret, namespaces);
    const { items: subjects } = useSubjects(namespaces);
    return useMemo(() => {
      if (!resources || !subjects) {
        return null;
      }
      const nodes = resources
        .filter(resource => resource.metadata.uid)
        .map(resource => ({
          id: resource.metadata.uid ?? '',
          kubeObject: new AzureKeyVaultSecret(resource as AzureKeyVaultSecret['jsonData']),
          status: nodeStatus(resource),
          detailsComponent: NodeDetails,
        }));
      return { nodes, edges: edgesOf(resources, subjects) };
    }, [resources, subjects]);
  },
};

function nodeStatus(resource: Resource) {
  return readiness(resource).state || 'warning';
}

function NodeDetails({ node }: { node: { kubeObject?: { metadata: Resource['metadata'] } } }) {
  const { namespace, name } = node.kubeObject?.metadata ?? {};
  return <ResourceDetails namespace={namespace} name={name} />;
}
