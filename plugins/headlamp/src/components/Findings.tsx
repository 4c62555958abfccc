import { CommonComponents, K8s } from '@kinvolk/headlamp-plugin/lib';
import { useMemo } from 'react';
import { List, ListError, Subjects, useObjects, useSelectedNamespaces, useSubjects } from '../data';
import {
  checkInjection,
  checkPresence,
  checkReadiness,
  checkReferences,
  checkResources,
  checkWebhooks,
  installationsOf,
  skipped,
} from '../lib/checks';
import { Finding } from '../lib/report';
import { Deployment, Namespace, Resource, WebhookConfiguration } from '../lib/types';
import { AzureKeyVaultSecret, MutatingWebhookConfiguration } from '../resources';
import { FindingsTable } from './FindingsTable';
import { ReportLoader } from './ReportLoader';

const { Loader, SectionBox, SectionFilterHeader } = CommonComponents;

/** Findings shows what the API server shows of the checks of kubectl akv2k8s doctor, and its report. */
export function Findings() {
  const findings = useFindings();
  return (
    <>
      <SectionBox title={<SectionFilterHeader title="Findings" noNamespaceFilter={false} />}>
        {findings ? <FindingsTable findings={findings} /> : <Loader title="Reading the cluster" />}
      </SectionBox>
      <ReportLoader />
    </>
  );
}

interface Lists {
  resources: List<Resource>;
  deployments: List<Deployment>;
  webhooks: List<WebhookConfiguration>;
  namespaces: List<Namespace>;
  subjects: Subjects;
}

/** useFindings returns the findings about the cluster; null while it is read. */
function useFindings(): Finding[] | null {
  const selected = useSelectedNamespaces();
  const resources = useObjects<Resource>(AzureKeyVaultSecret, selected);
  const deployments = useObjects<Deployment>(K8s.ResourceClasses.Deployment);
  const webhooks = useObjects<WebhookConfiguration>(MutatingWebhookConfiguration);
  const namespaces = useObjects<Namespace>(K8s.ResourceClasses.Namespace);
  const subjects = useSubjects(selected);
  return useMemo(
    () => findingsOf({ resources, deployments, webhooks, namespaces, subjects }, Date.now()),
    [resources, deployments, webhooks, namespaces, subjects]
  );
}

/** findingsOf runs the checks for which everything could be read; the others are skipped. */
export function findingsOf(lists: Lists, now: number): Finding[] | null {
  const { resources, deployments, webhooks, namespaces, subjects } = lists;
  const all = [resources, deployments, webhooks, namespaces, subjects];
  if (all.some(list => list.items === null)) {
    return null;
  }
  const installations = installationsOf(deployments.items ?? []);
  const errorsOf = (...needed: List<unknown>[]) => needed.flatMap(list => list.error ?? []);
  return [
    ...run('Installation', 'the pods of akv2k8s are ready', errorsOf(deployments), () => [
      ...checkPresence(installations),
      ...checkReadiness(installations),
    ]),
    ...run('Webhook', 'the API server knows the webhook', errorsOf(deployments, webhooks), () =>
      checkWebhooks(installations, webhooks.items ?? [])
    ),
    ...run('Namespaces', 'the AzureKeyVaultSecrets are in sync', errorsOf(resources), () =>
      checkResources(resources.items ?? [], now)
    ),
    ...run(
      'Namespaces',
      'references name AzureKeyVaultSecrets that exist',
      [...errorsOf(resources), ...subjects.errors],
      () => checkReferences(subjects.items ?? [], resources.items ?? [])
    ),
    ...run(
      'Namespaces',
      'pods with references are injected',
      [...errorsOf(namespaces), ...subjects.errors],
      () => checkInjection(subjects.items ?? [], namespaces.items ?? [], installations)
    ),
  ];
}

function run(
  category: string,
  check: string,
  errors: ListError[],
  findings: () => Finding[]
): Finding[] {
  return errors.length > 0 ? [skipped(category, check, errors[0].right, errors[0])] : findings();
}
