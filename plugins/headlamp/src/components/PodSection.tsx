import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { useMemo } from 'react';
import { useObjects } from '../data';
import { usesOfResource } from '../lib/consumers';
import { formatReference } from '../lib/reference';
import { printable, shortList } from '../lib/text';
import { Metadata, PodSpec, Resource } from '../lib/types';
import { PodUses, Use, usesOf } from '../lib/uses';
import { AzureKeyVaultSecret } from '../resources';
import { Expiry, ObjectLink, Ready, Status } from './common';

const { SectionBox, SimpleTable } = CommonComponents;

/** KubeObjectLike is an object in Headlamp's model. */
interface KubeObjectLike {
  kind: string;
  cluster: string;
  jsonData: { metadata: Metadata; spec?: object };
}

interface Template {
  metadata?: Partial<Metadata>;
  spec?: PodSpec;
}

/** templateOf returns the pod, or the pod template of a workload; undefined for other kinds. */
export function templateOf(kind: string, object: KubeObjectLike['jsonData']): Template | undefined {
  const spec = object.spec as
    | (PodSpec & { template?: Template; jobTemplate?: { spec?: { template?: Template } } })
    | undefined;
  switch (kind) {
    case 'Pod':
      return { metadata: object.metadata, spec };
    case 'Deployment':
    case 'StatefulSet':
    case 'DaemonSet':
    case 'ReplicaSet':
    case 'Job':
      return spec?.template;
    case 'CronJob':
      return spec?.jobTemplate?.spec?.template;
  }
  return undefined;
}

/** PodSection adds the values of Key Vault to Headlamp's page of a pod or workload. */
export function PodSection({ resource }: { resource: KubeObjectLike }) {
  const template = resource?.jsonData && templateOf(resource.kind, resource.jsonData);
  const uses = useMemo(() => template && usesOf(template.metadata, template.spec), [template]);
  const namespace = resource?.jsonData?.metadata?.namespace;
  if (!uses || uses.uses.length === 0 || !namespace) {
    return null;
  }
  const isPod = resource.kind === 'Pod';
  return <Uses uses={uses} isPod={isPod} namespace={namespace} cluster={resource.cluster} />;
}

interface Row {
  use: Use;
  name: string;
  resource?: Resource;
}

function Uses(props: { uses: PodUses; isPod: boolean; namespace: string; cluster: string }) {
  const { uses, isPod, namespace, cluster } = props;
  const { items, error } = useObjects<Resource>(AzureKeyVaultSecret, namespace);
  const rows = useMemo(() => rowsOf(uses.uses, items ?? []), [uses, items]);
  if (rows.length === 0) {
    return null;
  }
  const hasReference = rows.some(row => row.use.reference);
  const isMissing = (row: Row) => items !== null && !error && !row.resource;
  const now = Date.now();
  return (
    <SectionBox title="Key Vault secrets">
      {isPod && hasReference && !uses.injected && (
        <p>
          <Status state="error">
            The pod is not injected, so these variables and files have no values.
          </Status>
        </p>
      )}
      <SimpleTable
        columns={[
          { label: 'Container', getter: (row: Row) => printable(row.use.container || 'all') },
          { label: 'Variable or file', getter: (row: Row) => printable(row.use.target) },
          { label: 'From', getter: (row: Row) => printable(originText(row.use)) },
          {
            label: 'Resource',
            getter: (row: Row) => (
              <ObjectLink
                kind="AzureKeyVaultSecret"
                namespace={namespace}
                name={row.name}
                cluster={cluster}
              />
            ),
          },
          {
            label: 'Ready',
            getter: (row: Row) =>
              row.resource ? (
                <Ready resource={row.resource} />
              ) : (
                <Status state={isMissing(row) ? 'error' : ''}>
                  {isMissing(row) ? 'does not exist' : 'not known'}
                </Status>
              ),
          },
          {
            label: 'Expires',
            getter: (row: Row) => row.resource && <Expiry resource={row.resource} now={now} />,
          },
        ]}
        data={rows}
      />
      {uses.truncated && <p>The pod has more references than are shown.</p>}
      {uses.unread.length > 0 && hasReference && (
        <p>{`Not read for references: ${shortList(uses.unread)}.`}</p>
      )}
    </SectionBox>
  );
}

/** rowsOf joins uses with resources. Outputs that are of no resource are left out. */
export function rowsOf(uses: Use[], resources: Resource[]): Row[] {
  const byName = new Map(resources.map(resource => [resource.metadata.name, resource]));
  return uses.flatMap(use => {
    if (use.reference) {
      const { name } = use.reference;
      return [{ use, name, resource: byName.get(name) }];
    }
    return resources
      .filter(resource => usesOfResource(resource, [use]).length > 0)
      .map(resource => ({ use, name: resource.metadata.name, resource }));
  });
}

function originText({ reference, output, from }: Use): string {
  if (output) {
    return `${output.kind} ${output.name}`;
  }
  return reference ? `${formatReference(reference)} in ${from}` : from;
}
