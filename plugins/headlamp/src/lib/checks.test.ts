import {
  component,
  container,
  deployment,
  failed,
  injected,
  now,
  pod,
  resource,
} from '../test/fixtures';
import {
  checkInjection,
  checkPresence,
  checkReadiness,
  checkReferences,
  checkResources,
  checkWebhooks,
  flagOf,
  injectionLabel,
  installationsOf,
  skipped,
} from './checks';
import { subjectsOf } from './consumers';
import { Finding } from './report';
import { Deployment, WebhookConfiguration } from './types';

const line = (f: Finding) => [f.severity, f.object, f.what].filter(Boolean).join(' | ');

const controller = component('akv2k8s-controller');
const injector = component('akv2k8s-envinjector');
const installations = installationsOf([controller, injector, deployment('web', [container()])]);
const env = [{ name: 'DB', value: 'db@azurekeyvault' }];

describe('the installation', () => {
  it('is found by its labels or images', () => {
    expect(installations).toEqual([
      { namespace: 'akv2k8s', fullname: 'akv2k8s', controller, injector },
    ]);
    const v1 = deployment('old-controller', [
      container({ image: 'spvest/azure-keyvault-controller' }),
    ]);
    expect(installationsOf([v1])).toMatchObject([{ fullname: 'old' }]);
    expect(checkPresence(installations).map(line)).toEqual(['ok | installed: akv2k8s/akv2k8s']);
    expect(checkPresence([]).map(line)).toEqual(['warning | akv2k8s is not installed']);
  });

  it('has the label of its flag', () => {
    const withArgs = (...args: string[]): Deployment => ({
      ...injector,
      spec: { template: { spec: { containers: [container({ args })] } } },
    });
    expect(flagOf(withArgs('--a=1', '-a=2', 'a=3', '--b'), 'a')).toBe('2');
    expect(flagOf(withArgs('--b'), 'b')).toBe('true');
    const [own] = installationsOf([withArgs('--namespace-label=inject=yes')]);
    expect(injectionLabel(own)).toEqual({ name: 'inject', value: 'yes' });
    expect(injectionLabel(undefined)).toEqual({
      name: 'azure-key-vault-env-injection',
      value: 'enabled',
    });
  });

  it.each([
    [{}, 'ok | deployment/akv2k8s-controller | 1 of 1 replicas are ready'],
    [{ readyReplicas: 0 }, 'error | deployment/akv2k8s-controller | 0 of 1 replicas are ready'],
    [
      { updatedReplicas: 0 },
      'warning | deployment/akv2k8s-controller | its rollout has not finished: 0 of 1 pods are of the new version',
    ],
  ])('with the status %j gives %s', (status, want) => {
    const found = checkReadiness(installationsOf([component('akv2k8s-controller', status)]));
    expect(found.map(line)).toEqual([want]);
  });

  it('says what denies its pods, and that it is scaled to zero', () => {
    const conditions = [{ type: 'ReplicaFailure', status: 'True', message: 'a quota' }];
    const denied = component('akv2k8s-controller', { readyReplicas: 0, conditions });
    expect(checkReadiness(installationsOf([denied]))[0]).toMatchObject({ why: 'a quota' });
    const zero = { ...controller, spec: { ...controller.spec, replicas: 0 } };
    expect(checkReadiness(installationsOf([zero]))[0]).toMatchObject({
      what: 'it is scaled to zero',
      command: 'kubectl -n akv2k8s scale deployment akv2k8s-controller --replicas=1',
    });
  });
});

describe('the webhook', () => {
  const bundle = btoa('-----BEGIN CERTIFICATE-----\n…'.replace('…', 'x'));
  type Webhook = NonNullable<WebhookConfiguration['webhooks']>[number];
  const configuration = (change: Partial<Webhook> = {}): WebhookConfiguration => ({
    metadata: { name: 'akv2k8s-envinjector' },
    webhooks: [
      {
        name: 'pods.env-injector.admission.spv.no',
        clientConfig: {
          caBundle: bundle,
          service: { name: 'akv2k8s-envinjector', namespace: 'akv2k8s' },
        },
        namespaceSelector: { matchLabels: { 'azure-key-vault-env-injection': 'enabled' } },
        ...change,
      },
    ],
  });
  const service = { name: 'akv2k8s-envinjector', namespace: 'akv2k8s' };

  it.each([
    [[configuration()], 'the API server knows the webhook'],
    [[], 'it does not exist'],
    [[configuration({ name: 'other' })], 'it has no webhook pods.env-injector.admission.spv.no'],
    [[configuration({ clientConfig: { service } })], 'its CA bundle has no certificate'],
    [
      [configuration({ clientConfig: { service, caBundle: '%' } })],
      'its CA bundle has no certificate',
    ],
    [
      [configuration({ clientConfig: { caBundle: bundle } })],
      'it does not name the Service of the env-injector',
    ],
    [[configuration({ failurePolicy: 'Ignore' })], 'its failurePolicy is Ignore'],
    [
      [configuration({ namespaceSelector: {} })],
      'its namespaceSelector is not the label azure-key-vault-env-injection=enabled of the env-injector',
    ],
  ])('%# gives: %s', (configurations, what) => {
    expect(checkWebhooks(installations, configurations).map(f => f.what)).toEqual([what]);
  });

  it('is not checked without an env-injector, or for akv2k8s 1.8', () => {
    expect(checkWebhooks(installationsOf([controller]), [])).toEqual([]);
    const image = 'spvest/azure-keyvault-webhook';
    const v1 = deployment('old-envinjector', [container({ image })]);
    expect(checkWebhooks(installationsOf([v1]), [])).toEqual([]);
  });
});

describe('resources', () => {
  it('are grouped by their cause', () => {
    const denied = ['a', 'b', 'c', 'd'].map(n =>
      failed(n, 'AccessDenied', 'denied; grant the role')
    );
    const soon = resource('soon');
    soon.status!.conditions!.push({
      type: 'ExpiringSoon',
      status: 'True',
      reason: 'ExpiringSoon',
      message: 'it expires; renew it',
    });
    const stale = failed('stale', 'Throttled', 'm');
    stale.status!.conditions!.push({ type: 'Stale', status: 'True', reason: 'Old', message: 'm' });
    const found = checkResources([...denied, soon, stale, resource('fine')], now);
    expect(found.map(line)).toEqual([
      'error | akvs shop/a, shop/b, shop/c and 1 more | AccessDenied: denied',
      'warning | akvs shop/soon | ExpiringSoon: it expires',
      'error | akvs shop/stale | Throttled: m',
    ]);
    expect(found[0].try).toBe('grant the role');
    expect(checkResources([resource('fine')], now).map(line)).toEqual([
      'ok | AzureKeyVaultSecrets without an error: 1',
    ]);
  });

  it('without a status for minutes are not watched', () => {
    const output = { secret: { name: 's' } };
    const old = resource('old', { spec: { output }, status: {} });
    const fresh = resource('fresh', { spec: { output }, status: undefined });
    fresh.metadata.creationTimestamp = new Date(now - 1_000).toISOString();
    expect(
      checkResources([old, fresh, resource('pods-only', { status: {} })], now).map(line)
    ).toEqual(['error | akvs shop/old | no controller has read it']);
  });
});

describe('references', () => {
  it('to resources that do not exist are found', () => {
    const subjects = subjectsOf(
      [],
      [pod('p', [container({ env })]), pod('q', [container({ env })])]
    );
    expect(checkReferences(subjects, [resource('db')]).map(f => f.severity)).toEqual(['ok']);
    const other = resource('db');
    other.metadata.namespace = 'other';
    expect(checkReferences(subjects, [other])).toMatchObject([
      { object: 'akvs shop/db', what: 'it does not exist', why: 'it concerns Pod p, Pod q' },
    ]);
  });

  it('of pods that are not injected are found, with the reason', () => {
    const found = (
      labels: Record<string, string> | undefined,
      podLabels = {},
      c = container({ env })
    ) =>
      checkInjection(
        subjectsOf([], [pod('p', [c], { labels: podLabels })]),
        labels ? [{ metadata: { name: 'shop', labels } }] : [],
        installations
      ).map(line);
    const ok = ['ok | no pod with a reference lacks injection'];
    expect(found({})).toEqual([
      'error | namespace/shop | its pods are not injected: it lacks the label azure-key-vault-env-injection=enabled',
    ]);
    expect(found({ 'azure-key-vault-env-injection': 'enabled' })).toEqual([
      'warning | namespace/shop | pods with references are not injected: Pod p',
    ]);
    expect(found(undefined)).toEqual(ok);
    expect(found({}, { 'akv2k8s.io/inject': 'false' })).toEqual(ok);
    expect(found({}, {}, injected({ DB: 'db@azurekeyvault' }))).toEqual(ok);
    expect(found({}, {}, container())).toEqual(ok);
  });

  it('can be in a namespace with the label of any installation', () => {
    const subjects = subjectsOf([], [pod('p', [container({ env })])]);
    const namespaces = [{ metadata: { name: 'shop', labels: {} } }];
    expect(checkInjection(subjects, namespaces, [])[0].what).toContain('it lacks the label');
  });
});

describe('a check without rights', () => {
  it('is skipped and names the right; another failure is a warning', () => {
    expect(skipped('C', 'c', 'list pods', { status: 403 })).toMatchObject({
      severity: 'skipped',
      right: 'list pods',
    });
    expect(skipped('C', 'c', 'list pods', { status: 500, message: 'boom' })).toMatchObject({
      severity: 'warning',
      why: 'boom',
    });
  });
});
