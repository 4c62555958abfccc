import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { expiryOf, objectText, readiness, typeText } from '../lib/status';
import { compareText } from '../lib/text';
import { AzureKeyVaultSecret } from '../resources';
import { dateText, Expiry, Ready, Since } from './common';

const { ResourceListView } = CommonComponents;

/** ResourceList is the list of AzureKeyVaultSecrets; those that expire first come first. */
export function ResourceList() {
  const now = Date.now();
  const expiresAt = (item: AzureKeyVaultSecret) => expiryOf(item.jsonData, now).at;
  return (
    <ResourceListView
      id="akv2k8s-resources"
      title="Key Vault secrets"
      resourceClass={AzureKeyVaultSecret}
      defaultSortingColumn={{ id: 'expires', desc: false }}
      columns={[
        'name',
        'namespace',
        'cluster',
        {
          id: 'vault',
          label: 'Vault',
          getValue: item => item.jsonData.spec?.vault?.name,
          filterVariant: 'multi-select',
        },
        { id: 'object', label: 'Object', getValue: item => objectText(item.jsonData) },
        {
          id: 'objectType',
          label: 'Type',
          getValue: item => typeText(item.jsonData),
          filterVariant: 'multi-select',
        },
        {
          id: 'ready',
          label: 'Ready',
          gridTemplate: 'min-content',
          getValue: item => {
            const { text, reason } = readiness(item.jsonData);
            return `${text} ${reason}`.trim();
          },
          render: item => <Ready resource={item.jsonData} />,
        },
        {
          id: 'changed',
          label: 'Value changed',
          getValue: item => item.jsonData.status?.lastAzureUpdate ?? '',
          render: item => <Since time={item.jsonData.status?.lastAzureUpdate} />,
          sort: (a, b) =>
            compareText(
              b.jsonData.status?.lastAzureUpdate ?? '',
              a.jsonData.status?.lastAzureUpdate ?? ''
            ),
        },
        {
          id: 'expires',
          label: 'Expires',
          gridTemplate: 'min-content',
          getValue: item => {
            const { state, at } = expiryOf(item.jsonData, now);
            return state === 'none' ? '' : `${dateText(at)} ${state}`;
          },
          render: item => <Expiry resource={item.jsonData} now={now} short />,
          sort: (a, b) => (expiresAt(a) === expiresAt(b) ? 0 : expiresAt(a) - expiresAt(b)),
        },
        'age',
      ]}
    />
  );
}
