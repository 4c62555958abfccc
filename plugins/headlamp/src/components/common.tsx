import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { ReactNode } from 'react';
import { ListError } from '../data';
import { expiryOf, readiness, State } from '../lib/status';
import { printable } from '../lib/text';
import { Resource } from '../lib/types';

const { DateLabel, Link, StatusLabel } = CommonComponents;

/** iconData is the icon of the plugin, drawn here so that Headlamp has to load none. */
export const iconData = {
  body: '<path fill="currentColor" d="M14 2a8 8 0 0 0-7.6 10.5L2 17v5h5v-3h3v-3h2l1.500-1.500A8 8 0 1 0 14 2m2.500 3.500a2.500 2.500 0 1 1 0 5a2.500 2.500 0 0 1 0-5"/>',
  width: 24,
  height: 24,
};
export const iconName = 'akv2k8s:key';

/** Ready shows the condition Ready with its reason. */
export function Ready({ resource }: { resource: Resource }) {
  const { text, reason, state } = readiness(resource);
  return <Status state={state}>{reason ? `${text} (${reason})` : text}</Status>;
}

export function Status({ state, children }: { state: State; children: ReactNode }) {
  return <StatusLabel status={state}>{children}</StatusLabel>;
}

/** Expiry shows the expiry date, and marks it if it is near or over; the short form has no time. */
export function Expiry(props: { resource: Resource; now: number; short?: boolean }) {
  const { state, at } = expiryOf(props.resource, props.now);
  if (state === 'none') {
    return <>–</>;
  }
  const text = props.short ? dateText(at).slice(0, 10) : dateText(at);
  if (state === 'later') {
    return <>{text}</>;
  }
  return <Status state={state === 'soon' ? 'warning' : 'error'}>{`${text}, ${state}`}</Status>;
}

/** dateText is a time in milliseconds as in the output of kubectl, such as 2027-01-31 08:00Z. */
export function dateText(at: number): string {
  return new Date(at).toISOString().slice(0, 16).replace('T', ' ') + 'Z';
}

/** Since shows how long ago a time was, if there is one. */
export function Since({ time }: { time: string | undefined }) {
  return time && !Number.isNaN(Date.parse(time)) ? <DateLabel date={time} format="mini" /> : <>–</>;
}

/** Kinds whose pages Headlamp has. */
const kindsWithPages = [
  'AzureKeyVaultSecret',
  'Pod',
  'Deployment',
  'StatefulSet',
  'DaemonSet',
  'CronJob',
  'Job',
  'ConfigMap',
];

/** ObjectLink links to Headlamp's page of an object. Secrets get no link: a page of Headlamp would read their data. */
export function ObjectLink(props: {
  kind: string;
  namespace?: string;
  name: string;
  cluster?: string;
  children?: ReactNode;
}) {
  const { kind, namespace, name, cluster } = props;
  const text = props.children ?? printable(name);
  if (!kindsWithPages.includes(kind)) {
    return <>{text}</>;
  }
  return (
    <Link routeName={kind} params={{ namespace, name }} activeCluster={cluster}>
      {text}
    </Link>
  );
}

/** ReadErrors says which lists are missing, and which right each of them needs. */
export function ReadErrors({ errors }: { errors: ListError[] }) {
  if (errors.length === 0) {
    return null;
  }
  return (
    <ul>
      {errors.map(({ right, status, message }) => (
        <li key={right}>
          {status === 401 || status === 403
            ? `Not shown: you don't have the right to ${right}.`
            : `Not shown: the API server could not ${right}: ${printable(message ?? '')}`}
        </li>
      ))}
    </ul>
  );
}
