import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { useParams } from 'react-router-dom';
import { Subjects, useSubjects } from '../data';
import { refreshPlan } from '../lib/refresh';
import { identityText, lastError, outputsOf, vaultObjects } from '../lib/status';
import { printable } from '../lib/text';
import { Resource } from '../lib/types';
import { AzureKeyVaultSecret } from '../resources';
import { dateText, Expiry, ObjectLink, Ready, Since } from './common';
import { Consumers } from './Consumers';
import { RefreshButton, refreshText } from './RefreshButton';

const { ConditionsSection, DetailsGrid, SectionBox, SimpleTable } = CommonComponents;

/** ResourceDetails is the page of one AzureKeyVaultSecret. On Headlamp's map, a node gives its name. */
export function ResourceDetails(props: { namespace?: string; name?: string; cluster?: string }) {
  const params = useParams<{ namespace: string; name: string }>();
  const namespace = props.namespace ?? params.namespace;
  const name = props.name ?? params.name;
  const subjects = useSubjects(namespace);
  return (
    <DetailsGrid
      resourceType={AzureKeyVaultSecret}
      namespace={namespace}
      name={name}
      cluster={props.cluster}
      withEvents
      actions={item => (item ? [<RefreshButton key="refresh" item={item} />] : [])}
      extraInfo={item => item && informationOf(item, Date.now())}
      extraSections={(item: AzureKeyVaultSecret | null) => (item ? sectionsOf(item, subjects) : [])}
    />
  );
}

function sectionsOf(item: AzureKeyVaultSecret, subjects: Subjects) {
  return [
    {
      id: 'akv2k8s-consumers',
      section: <Consumers resource={item.jsonData} subjects={subjects} />,
    },
    {
      id: 'akv2k8s-objects',
      section: <VaultObjects resource={item.jsonData} />,
    },
    {
      id: 'akv2k8s-outputs',
      section: <Outputs resource={item.jsonData} cluster={item.cluster} />,
    },
    { id: 'akv2k8s-conditions', section: <ConditionsSection resource={item.jsonData} /> },
  ];
}

/** informationOf returns the rows of the main section. */
function informationOf(item: AzureKeyVaultSecret, now: number) {
  const resource: Resource = item.jsonData;
  const { spec, status } = resource;
  const error = lastError(resource);
  const plan = refreshPlan(resource, now);
  return [
    { name: 'Ready', value: <Ready resource={resource} /> },
    { name: 'Last error', value: error && `${error.reason}: ${error.cause}`, hide: !error },
    { name: 'Next step', value: error?.next, hide: !error },
    { name: 'Vault', value: printable(spec?.vault?.name ?? '') },
    { name: 'Identity', value: identityText(resource) },
    { name: 'Version', value: printable(status?.vaultVersion ?? '–') },
    { name: 'Value changed', value: <Since time={status?.lastAzureUpdate} /> },
    { name: 'Expires', value: <Expiry resource={resource} now={now} /> },
    { name: 'Refresh', value: plan.text },
    {
      name: 'Next refresh',
      value: plan.next && dateTextWithSeconds(plan.next),
      hide: !plan.next,
    },
    { name: 'Requested refresh', value: refreshText(item) },
    {
      name: 'Pending restart',
      value: `of the change at ${status?.pendingRestart?.changedAt}`,
      hide: !status?.pendingRestart,
    },
    { name: 'Synced by', value: printable(status?.syncedBy ?? ''), hide: !status?.syncedBy },
  ];
}

function dateTextWithSeconds(at: number): string {
  return `${dateText(at).slice(0, -1)}:${new Date(at).toISOString().slice(17, 19)}Z`;
}

function VaultObjects({ resource }: { resource: Resource }) {
  const searches = (resource.spec?.dataFrom ?? []).map(({ match }) => {
    const tags = Object.entries(match?.tags ?? {}).map(([key, value]) => `tag ${key}=${value}`);
    const prefix = match?.prefix ? [`prefix ${match.prefix}`] : [];
    const regexp = match?.regexp ? [`regexp ${match.regexp}`] : [];
    return {
      name: `search: ${[...prefix, ...regexp, ...tags].join(', ')}`,
      type: 'secret',
      version: '',
      dataKey: '',
    };
  });
  return (
    <SectionBox title="Vault objects">
      <SimpleTable
        columns={[
          { label: 'Name', getter: object => printable(object.name) },
          { label: 'Type', getter: object => printable(object.type) },
          { label: 'Version', getter: object => printable(object.version || 'latest') },
          { label: 'Data key', getter: object => printable(object.dataKey || '–') },
        ]}
        data={[...vaultObjects(resource), ...searches]}
      />
    </SectionBox>
  );
}

function Outputs({ resource, cluster }: { resource: Resource; cluster: string }) {
  return (
    <SectionBox title="Outputs">
      <SimpleTable
        columns={[
          { label: 'Kind', getter: output => output.kind },
          {
            label: 'Name',
            getter: output => (
              <ObjectLink
                kind={output.kind}
                namespace={resource.metadata.namespace}
                name={output.name}
                cluster={cluster}
              />
            ),
          },
          {
            label: 'State',
            getter: output => (output.written ? 'written by the controller' : 'not written yet'),
          },
        ]}
        data={outputsOf(resource)}
        emptyMessage="None: only pods use this resource, by references."
      />
    </SectionBox>
  );
}
