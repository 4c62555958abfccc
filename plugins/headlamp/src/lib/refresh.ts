import { isTrue } from './status';
import { Resource } from './types';

export const annotationRefresh = 'akv2k8s.io/refresh';

/** newRequest returns a value for the annotation that the controller copies into the status unchanged. */
export function newRequest(now: Date): string {
  return now.toISOString();
}

/** requestPatch is the merge patch that requests a refresh. */
export function requestPatch(request: string) {
  return { metadata: { annotations: { [annotationRefresh]: request } } };
}

// The controller replaces other values by a hash, which can't be compared here.
const plainRequest = /^[-_.:+a-zA-Z0-9]{1,64}$/;

/** requestState compares the annotation with status.refresh: pending until the controller has answered the request. */
export function requestState(resource: Resource): 'none' | 'pending' | 'answered' | 'unknown' {
  const request = resource.metadata.annotations?.[annotationRefresh] ?? '';
  const answered = resource.status?.refresh ?? '';
  if (request === '') {
    return 'none';
  }
  if (request === answered) {
    return 'answered';
  }
  return plainRequest.test(request) ? 'pending' : 'unknown';
}

const units: Record<string, bigint> = {
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** parseDuration parses a duration such as 1h30m, in nanoseconds. It returns undefined for other texts. */
export function parseDuration(text: string): bigint | undefined {
  if (text === '0') {
    return 0n;
  }
  if (text.length > 32 || !/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(text)) {
    return undefined;
  }
  let total = 0n;
  for (const [, whole, fraction, unit] of text.matchAll(/([0-9]+)(?:\.([0-9]+))?(ms|s|m|h)/g)) {
    total += BigInt(whole) * units[unit];
    if (fraction) {
      total += (BigInt(fraction) * units[unit]) / 10n ** BigInt(fraction.length);
    }
  }
  return total;
}

// Go counts intervals from the year 1, this many seconds before 1970.
const goEpochSeconds = 62_135_596_800n;

/** nextRefresh returns the first refresh time after now, as the controller's package schedule: each resource has an
 * offset in the interval that depends only on its uid. Times are in milliseconds, the interval is in nanoseconds. */
export function nextRefresh(uid: string, interval: bigint, now: number): number {
  const nanoseconds = BigInt(Math.trunc(now)) * 1_000_000n;
  const sinceEpoch = nanoseconds + goEpochSeconds * 1_000_000_000n;
  let next = nanoseconds - (sinceEpoch % interval) + (hash(uid) % interval);
  if (next <= nanoseconds) {
    next += interval;
  }
  return Number(next / 1_000_000n);
}

/** hash is FNV-1a with 64 bits, without the lowest bit. */
function hash(text: string): bigint {
  let value = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    value = BigInt.asUintN(64, (value ^ BigInt(byte)) * 0x100000001b3n);
  }
  return value >> 1n;
}

/** refreshPlan says when the vault is read, and when next, if that is known. */
export function refreshPlan(resource: Resource, now: number): { text: string; next?: number } {
  const setting = resource.spec?.refreshInterval;
  const ready = isTrue(resource, 'Ready');
  const retry = ready ? '' : '; after a failure it is retried earlier, in seconds or minutes';
  if (setting === undefined || setting === '') {
    return { text: `at the interval of the installation${retry}` };
  }
  const interval = parseDuration(String(setting));
  if (interval === undefined) {
    return { text: 'not before the spec is changed' };
  }
  if (interval === 0n) {
    return { text: `once (spec.refreshInterval: 0)${retry}` };
  }
  const text = `every ${setting} (spec.refreshInterval)${retry}`;
  const uid = resource.metadata.uid;
  return ready && uid ? { text, next: nextRefresh(uid, interval, now) } : { text };
}
