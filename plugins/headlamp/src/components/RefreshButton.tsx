import { CommonComponents } from '@kinvolk/headlamp-plugin/lib';
import { Button } from '@mui/material';
import { useSnackbar } from 'notistack';
import { useState } from 'react';
import { newRequest, requestPatch, requestState } from '../lib/refresh';
import { lastError } from '../lib/status';
import { printable } from '../lib/text';
import { AzureKeyVaultSecret } from '../resources';

const { AuthVisible } = CommonComponents;

/** RefreshButton requests a refresh from the vault, for users who may patch the resource. */
export function RefreshButton({ item }: { item: AzureKeyVaultSecret }) {
  const { enqueueSnackbar } = useSnackbar();
  const [isSending, setIsSending] = useState(false);
  const isPending = requestState(item.jsonData) === 'pending';

  async function requestRefresh() {
    setIsSending(true);
    try {
      await item.patch(requestPatch(newRequest(new Date())));
      enqueueSnackbar(`Refresh of ${item.getName()} requested`, { variant: 'info' });
    } catch (error) {
      const cause = printable(error instanceof Error ? error.message : String(error));
      enqueueSnackbar(
        `The refresh of ${item.getName()} could not be requested: ${cause}. It needs the right to patch azurekeyvaultsecrets.`,
        { variant: 'error' }
      );
    } finally {
      setIsSending(false);
    }
  }

  return (
    <AuthVisible item={item} authVerb="patch">
      <Button size="small" variant="outlined" disabled={isSending} onClick={requestRefresh}>
        {isPending ? 'Refresh again' : 'Refresh now'}
      </Button>
    </AuthVisible>
  );
}

/** refreshText says what came of the last request. */
export function refreshText(item: AzureKeyVaultSecret): string {
  const request = item.metadata.annotations?.['akv2k8s.io/refresh'] ?? '';
  switch (requestState(item.jsonData)) {
    case 'none':
      return 'none';
    case 'pending':
      return `${printable(request, 64)}: the controller has not answered it yet`;
    case 'unknown':
      return 'the controller shows a hash of this value, so it is not known whether it is answered';
    case 'answered':
      return lastError(item.jsonData)
        ? `${printable(request, 64)}: answered, with the error above`
        : `${printable(request, 64)}: the vault was read`;
  }
}
