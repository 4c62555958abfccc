import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { useMemo } from 'react';
import { Subjects } from '../data';
import { Consumer, consumersOf } from '../lib/consumers';
import { MAX_OBJECTS } from '../lib/limits';
import { formatReference } from '../lib/reference';
import { printable } from '../lib/text';
import { Resource } from '../lib/types';
import { Use } from '../lib/uses';
import { ObjectLink, ReadErrors, Status } from './common';

const { Loader, SectionBox, SimpleTable } = CommonComponents;

/** Uses of one consumer that are shown; the rest is counted. */
const maxUsesShown = 10;

/** Consumers lists the workloads and pods that use a resource. */
export function Consumers({ resource, subjects }: { resource: Resource; subjects: Subjects }) {
  const consumers = useMemo(
    () => subjects.items && consumersOf(resource, subjects.items),
    [resource, subjects.items]
  );
  const more = resource.status?.moreWorkloads ?? 0;
  return (
    <SectionBox title="Used by">
      {consumers ? (
        <SimpleTable
          columns={[
            {
              label: 'Workload',
              getter: (c: Consumer) => (
                <ObjectLink kind={c.kind} namespace={c.namespace} name={c.name}>
                  {`${c.kind} ${printable(c.name)}`}
                </ObjectLink>
              ),
            },
            { label: 'Uses', getter: (c: Consumer) => <UseList uses={c.uses} /> },
            { label: 'Running pods', getter: (c: Consumer) => (c.uid ? c.pods : '–') },
            { label: 'Version at start', getter: (c: Consumer) => printable(c.version || '–') },
            { label: 'State', getter: (c: Consumer) => <ConsumerState consumer={c} /> },
          ]}
          data={consumers}
          emptyMessage="No workload or pod that you may read uses this resource."
          rowsPerPage={[10, 25, 50]}
        />
      ) : (
        <Loader title="Reading the workloads of the namespace" />
      )}
      {more > 0 && <p>{`${more} more workloads are restarted when the value changes.`}</p>}
      {subjects.truncated && (
        <p>{`Only the first ${MAX_OBJECTS} objects of each kind were read.`}</p>
      )}
      <ReadErrors errors={subjects.errors} />
    </SectionBox>
  );
}

function ConsumerState({ consumer }: { consumer: Consumer }) {
  if (consumer.pending) {
    return <Status state="warning">{printable(consumer.pending)}</Status>;
  }
  if (consumer.outdatedPods > 0) {
    const text = `${consumer.outdatedPods} of ${consumer.pods} pods started before the value changed`;
    return <Status state="warning">{text}</Status>;
  }
  return <>{consumer.pods > 0 ? 'up to date' : '–'}</>;
}

function UseList({ uses }: { uses: Use[] }) {
  if (uses.length === 0) {
    return <>selected by spec.rolloutRestart</>;
  }
  return (
    <>
      {uses.slice(0, maxUsesShown).map((use, index) => (
        <div key={index}>{useText(use)}</div>
      ))}
      {uses.length > maxUsesShown && <div>{`and ${uses.length - maxUsesShown} more`}</div>}
    </>
  );
}

/** useText describes a use in one line. */
export function useText({ container, kind, target, reference, output }: Use): string {
  const where = container ? `${container}: ` : '';
  if (output) {
    return printable(`${where}${output.kind} ${output.name} (${target})`);
  }
  return printable(`${where}${kind} ${target} = ${reference ? formatReference(reference) : ''}`);
}
