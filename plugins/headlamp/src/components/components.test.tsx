// First: another order of its modules, which refer to one another, fails.
import '@kinvolk/headlamp-plugin/lib/plugin/index';
import { lightTheme } from '@kinvolk/headlamp-plugin/lib/components/App/defaultAppThemes';
import { createMuiTheme } from '@kinvolk/headlamp-plugin/lib/lib/themes';
import { setConfig } from '@kinvolk/headlamp-plugin/lib/redux/configSlice';
import store from '@kinvolk/headlamp-plugin/lib/redux/stores/store';
import { ThemeProvider } from '@mui/material';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { File } from 'node:buffer';
import { SnackbarProvider } from 'notistack';
import { ReactNode } from 'react';
import { Provider } from 'react-redux';
import { BrowserRouter, Route } from 'react-router-dom';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AzureKeyVaultSecret } from '../resources';
import {
  component,
  container,
  deployment,
  failed,
  hostile,
  injected,
  pod,
  resource,
} from '../test/fixtures';
import { FakeServer } from '../test/server';
import { Findings } from './Findings';
import { mapSource } from './mapSource';
import { PodSection } from './PodSection';
import { ResourceDetails } from './ResourceDetails';
import { ResourceList } from './ResourceList';

// The texts of the page come in steps, and the tests' machine can be busy.
const wait = { timeout: 60_000 };

const env = [{ name: 'DB', value: 'db@azurekeyvault' }];

function objects() {
  const soon = resource('soon', { status: { expires: '2099-01-02T03:04:05Z' } });
  soon.status!.conditions = [
    { type: 'Ready', status: 'True' },
    { type: 'ExpiringSoon', status: 'True', reason: 'ExpiringSoon', message: 'it expires' },
  ];
  const expired = resource('expired', { status: { expires: '2020-01-02T03:04:05Z' } });
  const akvs = [
    resource('db'),
    soon,
    expired,
    failed('broken', 'AccessDenied', `${hostile} is denied; grant the role`),
  ].map(o => ({ ...o, kind: 'AzureKeyVaultSecret', apiVersion: 'spv.no/v2beta1' }));
  const web = deployment('web', [container({ env })]);
  const batch = deployment('batch', [
    container({ envFrom: [{ configMapRef: { name: 'config' } }] }),
  ]);
  return [
    ...akvs,
    { ...web, kind: 'Deployment' },
    { ...batch, kind: 'Deployment' },
    { ...component('akv2k8s-controller'), kind: 'Deployment' },
    { ...component('akv2k8s-envinjector', { readyReplicas: 0 }), kind: 'Deployment' },
    {
      ...pod('web-abc-1', [injected({ X: 'soon@azurekeyvault' }, { env })], {
        labels: { 'pod-template-hash': 'abc' },
        ownerReferences: [{ kind: 'ReplicaSet', name: 'web-abc', controller: true }],
      }),
      kind: 'Pod',
    },
    {
      ...pod('alone', [container({ env: [{ name: 'N', value: 'nowhere@azurekeyvault' }] })]),
      kind: 'Pod',
    },
    { kind: 'Namespace', metadata: { name: 'shop', labels: {} } },
    {
      kind: 'ConfigMap',
      metadata: { name: 'config', namespace: 'shop' },
      data: { K: 'expired@azurekeyvault' },
    },
  ];
}

/** show renders an element as Headlamp does, at a path of the cluster. */
function show(element: ReactNode, path = '/keyvaultsecrets', pattern = '/keyvaultsecrets') {
  window.history.pushState({}, '', `/c/main${path}`);
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  return render(
    <Provider store={store}>
      <QueryClientProvider client={client}>
        <ThemeProvider theme={createMuiTheme(lightTheme)}>
          <SnackbarProvider>
            <BrowserRouter>
              <Route path={`/c/:cluster${pattern}`}>{element}</Route>
            </BrowserRouter>
          </SnackbarProvider>
        </ThemeProvider>
      </QueryClientProvider>
    </Provider>
  );
}

const details = (name: string) =>
  show(<ResourceDetails />, `/keyvaultsecrets/shop/${name}`, '/keyvaultsecrets/:namespace/:name');

const text = () => document.body.textContent ?? '';

/** shows waits for texts. */
const shows = (...texts: string[]) =>
  waitFor(() => texts.forEach(t => expect(text()).toContain(t)), wait);

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer(objects());
  store.dispatch(
    setConfig({ clusters: { main: { name: 'main', auth_type: '', meta_data: {} } } } as any)
  );
});

afterEach(() => {
  // Of all pages of the plugin.
  expect(server.requests.filter(request => /\/secrets(\/|$)/.test(request))).toEqual([]);
  expect((window as any).attacked).toBeUndefined();
  expect(document.querySelector('img[src="x"]')).toBeNull();
  cleanup();
  vi.unstubAllGlobals();
});

describe('the list', () => {
  it('shows the resources, those that expire first at the top', async () => {
    show(<ResourceList />);
    await shows('db-object', 'False (AccessDenied)', '2020-01-02, expired', '2099-01-02, soon');
    expect(text().indexOf('expired-object')).toBeLessThan(text().indexOf('soon-object'));
    expect(text().indexOf('soon-object')).toBeLessThan(text().indexOf('db-object'));
  });

  it('shows a page of thousands, and not all at once', async () => {
    const many = Array.from({ length: 3_000 }, (_, i) => ({
      ...resource(`r${i}`),
      kind: 'AzureKeyVaultSecret',
    }));
    server = new FakeServer(many);
    show(<ResourceList />);
    await shows('r0-object');
    expect(document.querySelectorAll('tbody tr').length).toBeLessThan(200);
  });
});

describe('the details', () => {
  it('show vault object, consumers, and no button without the right', async () => {
    server.mayPatch = false;
    details('db');
    await shows(
      'Used by',
      'Deployment web',
      'app: variable DB = db@azurekeyvault',
      'db-object',
      'Conditions'
    );
    await shows('the identity of the installation', 'None: only pods use this resource');
    expect(screen.queryByText('Refresh now')).toBeNull();
  });

  it('show the references of ConfigMaps, and of Secrets as the pod has them', async () => {
    details('expired');
    await shows('Deployment batch', 'app: variable K = expired@azurekeyvault');
    cleanup();
    details('soon');
    await shows('app: variable X = soon@azurekeyvault');
  });

  it('show the last error with its next step, as text', async () => {
    details('broken');
    await shows(
      'Last error',
      'AccessDenied: <img src=x onerror="window.attacked=1">',
      'Next step',
      'grant the role'
    );
  });

  it('request a refresh', async () => {
    details('db');
    fireEvent.click(await screen.findByText('Refresh now', undefined, wait));
    await shows('Refresh of db requested');
    expect(server.patches).toEqual([
      {
        metadata: { annotations: { 'akv2k8s.io/refresh': expect.stringMatching(/^2\d{3}-.*Z$/) } },
      },
    ]);
  });

  it('say which right is missing', async () => {
    server.forbidden.add('pods');
    details('db');
    await shows("Not shown: you don't have the right to list pods.", 'Deployment web');
  });
});

describe('the findings', () => {
  const path = ['/keyvaultsecrets-findings', '/keyvaultsecrets-findings'] as const;

  it('show what the API server shows', async () => {
    show(<Findings />, ...path);
    await shows(
      'Installation',
      '0 of 1 replicas are ready',
      'it does not exist',
      'akvs shop/nowhere',
      'AccessDenied',
      'lacks the label azure-key-vault-env-injection=enabled'
    );
  });

  it('skip a check without the right', async () => {
    server.forbidden.add('mutatingwebhookconfigurations');
    show(<Findings />, ...path);
    await shows("you don't have the right to list mutatingwebhookconfigurations");
  });

  it('show a report as text, and reject others', async () => {
    show(<Findings />, ...path);
    const input = await screen.findByLabelText('Report');
    const finding = {
      category: 'Nodes',
      check: 'c',
      severity: 'warning',
      what: hostile,
      command: 'kubectl get nodes',
    };
    fireEvent.change(input, { target: { value: JSON.stringify({ findings: [finding] }) } });
    fireEvent.click(screen.getByText('Show report'));
    await shows('Nodes', '<img src=x onerror="window.attacked=1">', 'kubectl get nodes');
    fireEvent.change(input, { target: { value: 'no JSON' } });
    fireEvent.click(screen.getByText('Show report'));
    await shows('The report is not JSON. Use the output of: kubectl akv2k8s doctor -o json');
    expect(text()).not.toContain('kubectl get nodes');
    const file = new File(
      [JSON.stringify({ findings: [{ ...finding, what: 'of a file' }] })],
      'report.json'
    );
    fireEvent.change(screen.getByLabelText('Open a report'), { target: { files: [file] } });
    await shows('of a file');
    const large = new File(['x'.repeat(3 * 1024 * 1024)], 'report.json');
    fireEvent.change(screen.getByLabelText('Open a report'), { target: { files: [large] } });
    await shows('The report has more than 2 MiB');
  });
});

describe('the section of pods and workloads', () => {
  const section = (kind: string, object: { metadata: any; spec?: object }) =>
    show(<PodSection resource={{ kind, cluster: 'main', jsonData: object }} />);

  it('shows references with the state of their resource', async () => {
    section(
      'Pod',
      pod('p', [container({ env: [...env, { name: 'N', value: 'nowhere@azurekeyvault' }] })])
    );
    await shows('The pod is not injected', 'db@azurekeyvault in env', 'True', 'does not exist');
  });

  it.each(['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job'])(
    'shows those of the template of a %s',
    async kind => {
      section(kind, deployment('web', [container({ env })]));
      await shows('db@azurekeyvault in env');
      expect(text()).not.toContain('not injected');
    }
  );

  it('shows those of a CronJob', async () => {
    const template = { spec: { containers: [container({ env })] } };
    section('CronJob', {
      metadata: { name: 'c', namespace: 'shop' },
      spec: { jobTemplate: { spec: { template } } },
    });
    await shows('db@azurekeyvault in env');
  });

  it('shows a hostile path as text', async () => {
    const annotations = {
      'akv2k8s.io/files': JSON.stringify({ [`/etc/${hostile}`]: 'db@azurekeyvault' }),
    };
    section('Pod', pod('p', [container()], { annotations }));
    await shows('/etc/<img src=x onerror="window.attacked=1">');
  });

  it.each(['Pod', 'Service', 'ConfigMap'])(
    'shows nothing for a %s without references',
    async kind => {
      section(kind, { metadata: { name: 'x', namespace: 'shop' }, spec: {} });
      expect(text()).toBe('');
    }
  );
});

describe('the map', () => {
  it('has nodes for resources and edges to their consumers', async () => {
    function Map() {
      const data = mapSource.useData();
      const edges = data?.edges.map(edge => `${edge.source}>${edge.target}`).sort();
      return (
        <>{data && `${data.nodes.map(n => `${n.id}:${n.status}`).join(' ')} ${edges?.join(' ')}`}</>
      );
    }
    show(<Map />);
    await shows('uid-db:success', 'uid-broken:error', 'uid-db>uid-web', 'uid-soon>uid-web');
    expect(AzureKeyVaultSecret.detailsRoute).toBe('AzureKeyVaultSecret');
  });
});
