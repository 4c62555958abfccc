import { failed, hostile, now, resource } from '../test/fixtures';
import {
  expiryOf,
  identityText,
  lastError,
  nextStepFor,
  objectText,
  outputsOf,
  readiness,
  typeText,
  vaultObjects,
} from './status';
import { printable, shortList, splitMessage } from './text';

describe('status', () => {
  it('describes the condition Ready', () => {
    expect(readiness(resource('db'))).toEqual({ text: 'True', reason: '', state: 'success' });
    expect(readiness(resource('db', { status: undefined }))).toMatchObject({
      reason: 'not read yet',
    });
    const changed = resource('db');
    changed.metadata.generation = 3;
    expect(readiness(changed)).toMatchObject({
      text: 'Unknown',
      reason: 'changed since it was read',
    });
    expect(readiness(failed('db', 'AccessDenied', 'm'))).toEqual({
      text: 'False',
      reason: 'AccessDenied',
      state: 'error',
    });
    const conditions = [
      { type: 'Ready', status: 'True' },
      { type: 'Stale', status: 'True' },
    ];
    expect(readiness(resource('db', { status: { conditions } })).state).toBe('warning');
  });

  it('splits the last error into cause and next step', () => {
    expect(lastError(resource('db'))).toBeUndefined();
    expect(lastError(failed('db', 'AccessDenied', 'it is denied; grant the role'))).toMatchObject({
      reason: 'AccessDenied',
      cause: 'it is denied',
      next: 'grant the role',
    });
    expect(lastError(failed('db', 'Throttled', 'too much'))?.next).toContain('wait');
  });

  it.each([
    'Throttled',
    'VaultUnavailable',
    'InvalidSpec',
    'AccessDenied',
    'AuthenticationFailed',
    'InternalError',
    'ObjectNotFound',
  ])('has a next step for %s', reason => {
    expect(nextStepFor(reason)).not.toBe('');
  });

  it('marks the expiry', () => {
    const expires = (text: string | undefined, soon = false) =>
      expiryOf(
        resource('db', {
          status: {
            expires: text,
            conditions: [{ type: 'ExpiringSoon', status: soon ? 'True' : 'False' }],
          },
        }),
        now
      ).state;
    expect(expires(undefined)).toBe('none');
    expect(expires('no date')).toBe('none');
    expect(expires('2027-11-30T00:00:00Z')).toBe('later');
    expect(expires('2026-12-01T00:00:00Z', true)).toBe('soon');
    expect(expires('2026-11-29T00:00:00Z', true)).toBe('expired');
    expect(expiryOf(resource('db'), now).at).toBe(Infinity);
  });

  it('names vault objects, types and outputs', () => {
    const several = resource('several', {
      spec: {
        vault: { name: 'vault', azureIdentity: { name: 'reader' } },
        data: [
          { object: { name: 'a', type: 'secret' }, dataKey: 'A' },
          { object: { name: 'b', type: 'key' }, dataKey: 'B' },
        ],
        dataFrom: [{ match: { prefix: 'p' } }],
        output: { secret: { name: 'out' }, configMap: { name: 'map' } },
      },
      status: { secretName: 'out' },
    });
    expect(vaultObjects(several).map(o => `${o.name}=${o.dataKey}`)).toEqual(['a=A', 'b=B']);
    expect(objectText(several)).toBe('a and 2 more');
    expect(typeText(several)).toBe('secret, key');
    expect(outputsOf(several)).toEqual([
      { kind: 'Secret', name: 'out', written: true },
      { kind: 'ConfigMap', name: 'map', written: false },
    ]);
    expect(identityText(several)).toContain('shop/reader');
    expect(identityText(resource('db'))).toBe('the identity of the installation');
    expect(objectText(resource('db'))).toBe('db-object');
  });
});

describe('texts', () => {
  it('have no control characters, and a limit', () => {
    expect(printable(hostile)).toBe('<img src=x onerror="window.attacked=1"> ');
    expect(printable('a\u0000b\u001b[31mc\nd\u200be')).toBe('a b [31mc\nd e');
    expect(printable('x'.repeat(10_000))).toHaveLength(2_001);
    expect(splitMessage('cause; next; more')).toEqual({ cause: 'cause', next: 'next; more' });
    expect(shortList(['a', 'b', 'c', 'd', 'e'])).toBe('a, b, c and 2 more');
  });
});
