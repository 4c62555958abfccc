import { vi } from 'vitest';

/** FakeObject is an object of the fake API server. */
export interface FakeObject {
  kind: string;
  metadata: { name: string; namespace?: string; annotations?: Record<string, string> };
}

/** plurals are the kinds that the server knows. */
const plurals: Record<string, string> = {
  azurekeyvaultsecrets: 'AzureKeyVaultSecret',
  configmaps: 'ConfigMap',
  cronjobs: 'CronJob',
  daemonsets: 'DaemonSet',
  deployments: 'Deployment',
  events: 'Event',
  mutatingwebhookconfigurations: 'MutatingWebhookConfiguration',
  namespaces: 'Namespace',
  pods: 'Pod',
  statefulsets: 'StatefulSet',
};

/** FakeServer answers the requests of a page with objects of a test, and remembers them. */
export class FakeServer {
  readonly requests: string[] = [];
  readonly patches: unknown[] = [];
  /** Forbidden are plural names that may not be listed. */
  readonly forbidden = new Set<string>();
  mayPatch = true;

  constructor(readonly objects: FakeObject[]) {
    vi.stubGlobal('fetch', (url: string | URL | Request, init?: RequestInit) =>
      this.answer(new URL(String(url), 'http://localhost'), init)
    );
    vi.stubGlobal('indexedDB', emptyDatabase);
    // Watches get no events.
    vi.stubGlobal(
      'WebSocket',
      class {
        addEventListener() {}
        removeEventListener() {}
        send() {}
        close() {}
      }
    );
  }

  private async answer(url: URL, init?: RequestInit): Promise<Response> {
    const method = init?.method ?? 'GET';
    this.requests.push(`${method} ${url.pathname}`);
    if (url.pathname.endsWith('/selfsubjectaccessreviews')) {
      return json({ status: { allowed: this.mayPatch } });
    }
    const match =
      /\/(?:api\/v1|apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/.exec(
        url.pathname
      );
    const [, namespace, plural, name] = match ?? [];
    if (!match || this.forbidden.has(plural)) {
      return json({ message: match ? 'forbidden' : 'not found' }, match ? 403 : 404);
    }
    const items = this.objects.filter(
      o => o.kind === plurals[plural] && (!namespace || o.metadata.namespace === namespace)
    );
    if (!name) {
      const metadata = { resourceVersion: '1' };
      return json({ kind: `${plurals[plural]}List`, apiVersion: 'v1', metadata, items });
    }
    const object = items.find(o => o.metadata.name === name);
    if (object && method === 'PATCH') {
      this.patches.push(JSON.parse(String(init?.body)));
    }
    return object ? json(object) : json({ message: 'not found' }, 404);
  }
}

/** emptyDatabase is the browser's database in which Headlamp looks for kubeconfigs; it has none. */
const emptyDatabase = {
  open: () => {
    const openCursor = () => succeedWith(null);
    return succeedWith({ transaction: () => ({ objectStore: () => ({ openCursor }) }) });
  },
};

function succeedWith(result: unknown) {
  const request: { onsuccess?: (event: unknown) => void } = {};
  queueMicrotask(() => request.onsuccess?.({ target: { result } }));
  return request;
}

function json(body: unknown, status = 200): Response {
  const headers = { 'Content-Type': 'application/json' };
  return new Response(JSON.stringify(body), { status, headers });
}
