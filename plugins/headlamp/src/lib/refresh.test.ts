import { now, resource } from '../test/fixtures';
import {
  newRequest,
  nextRefresh,
  parseDuration,
  refreshPlan,
  requestPatch,
  requestState,
} from './refresh';

const at = Date.parse('2026-11-30T03:00:00.123Z');

describe('refresh', () => {
  // The times are those of the controller's package schedule.
  it.each([
    ['5f6c7d3e-0000-4000-8000-000000000001', '10m', '2026-11-30T03:00:31.076Z'],
    ['5f6c7d3e-0000-4000-8000-000000000001', '90s', '2026-11-30T03:00:01.076Z'],
    ['5f6c7d3e-0000-4000-8000-000000000001', '8760h', '2027-03-05T07:40:31.076Z'],
    ['a', '10m', '2026-11-30T03:06:40.277Z'],
    ['a', '1m30s', '2026-11-30T03:00:10.277Z'],
    ['a', '8760h0m0s', '2027-01-12T15:46:40.277Z'],
  ])('of %s every %s is next at %s', (uid, interval, want) => {
    expect(new Date(nextRefresh(uid, parseDuration(interval)!, at)).toISOString()).toBe(want);
  });

  it.each([
    ['0', 0n],
    ['1s', 1_000_000_000n],
    ['1.5h', 5_400_000_000_000n],
    ['250ms', 250_000_000n],
    ['1m30s', 90_000_000_000n],
  ])('reads the duration %s', (text, want) => {
    expect(parseDuration(text)).toBe(want);
  });

  it.each(['', '1', 's', '1d', '-1s', '1s ', `${'9'.repeat(40)}s`])('rejects %j', text => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it('says when the vault is read', () => {
    const every = (refreshInterval?: string | number) =>
      refreshPlan(resource('db', { spec: { refreshInterval } }), now);
    expect(every()).toEqual({ text: 'at the interval of the installation' });
    expect(every('10m').text).toBe('every 10m (spec.refreshInterval)');
    expect(every('10m').next).toBeGreaterThan(now);
    expect(every(0)).toEqual({ text: 'once (spec.refreshInterval: 0)' });
    expect(every('x')).toEqual({ text: 'not before the spec is changed' });
    const notReady = resource('db', { spec: { refreshInterval: '10m' }, status: {} });
    expect(refreshPlan(notReady, now)).toEqual({
      text: 'every 10m (spec.refreshInterval); after a failure it is retried earlier, in seconds or minutes',
    });
  });

  it('compares the request with the status', () => {
    const state = (request: string | undefined, refresh: string) => {
      const base = resource('db', { status: { refresh } });
      if (request !== undefined) {
        base.metadata.annotations = requestPatch(request).metadata.annotations;
      }
      return requestState(base);
    };
    const request = newRequest(new Date(now));
    expect(request).toMatch(/^[-_.:+a-zA-Z0-9]{20,64}$/);
    expect(state(undefined, '')).toBe('none');
    expect(state(request, '')).toBe('pending');
    expect(state(request, 'older')).toBe('pending');
    expect(state(request, request)).toBe('answered');
    expect(state('with blanks', 'sha256:0')).toBe('unknown');
    expect(state('x'.repeat(65), 'sha256:0')).toBe('unknown');
  });
});
