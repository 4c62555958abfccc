import { addIcon, Icon } from '@iconify/react';
import {
  registerDetailsViewSection,
  registerKindIcon,
  registerMapSource,
  registerRoute,
  registerSidebarEntry,
} from '@kinvolk/headlamp-plugin/lib';
import { iconData, iconName } from './components/common';
import { Findings } from './components/Findings';
import { mapSource } from './components/mapSource';
import { PodSection } from './components/PodSection';
import { ResourceDetails } from './components/ResourceDetails';
import { ResourceList } from './components/ResourceList';
import { AzureKeyVaultSecret } from './resources';

const root = '/keyvaultsecrets';

addIcon(iconName, iconData);

registerSidebarEntry({
  parent: null,
  name: 'akv2k8s',
  label: 'Key Vault secrets',
  url: root,
  icon: iconName,
});
registerSidebarEntry({
  parent: 'akv2k8s',
  name: 'akv2k8s-resources',
  label: 'AzureKeyVaultSecrets',
  url: root,
});
registerSidebarEntry({
  parent: 'akv2k8s',
  name: 'akv2k8s-findings',
  label: 'Findings',
  url: `${root}-findings`,
});

registerRoute({
  path: root,
  sidebar: 'akv2k8s-resources',
  name: AzureKeyVaultSecret.listRoute,
  exact: true,
  component: () => <ResourceList />,
});
registerRoute({
  path: `${root}/:namespace/:name`,
  sidebar: 'akv2k8s-resources',
  name: AzureKeyVaultSecret.detailsRoute,
  exact: true,
  component: () => <ResourceDetails />,
});
registerRoute({
  path: `${root}-findings`,
  sidebar: 'akv2k8s-findings',
  name: 'Key Vault findings',
  exact: true,
  component: () => <Findings />,
});

registerDetailsViewSection(PodSection);
registerMapSource(mapSource);
registerKindIcon(
  AzureKeyVaultSecret.kind,
  { icon: <Icon icon={iconName} width="70%" height="70%" />, color: '#0078d4' },
  'spv.no'
);
