// The parts of Headlamp's frontend that the kit has, put together as Headlamp does: its sidebar, its pages, its map, its
// store. The plugin is the built one, which finds them in window.pluginLib.
// First: another order of its modules, which refer to one another, fails.
import '@kinvolk/headlamp-plugin/lib/plugin/index';
import '@kinvolk/headlamp-plugin/lib/i18n/config';
import RouteSwitcher from '@kinvolk/headlamp-plugin/lib/components/App/RouteSwitcher';
import { lightTheme } from '@kinvolk/headlamp-plugin/lib/components/App/defaultAppThemes';
import Sidebar from '@kinvolk/headlamp-plugin/lib/components/Sidebar/Sidebar';
import { queryClient } from '@kinvolk/headlamp-plugin/lib/lib/queryClient';
import { createMuiTheme } from '@kinvolk/headlamp-plugin/lib/lib/themes';
import { initializePlugins } from '@kinvolk/headlamp-plugin/lib/plugin/index';
import { setConfig } from '@kinvolk/headlamp-plugin/lib/redux/configSlice';
import store from '@kinvolk/headlamp-plugin/lib/redux/stores/store';
import { Box, CssBaseline, ThemeProvider } from '@mui/material';
import { QueryClientProvider } from '@tanstack/react-query';
import { SnackbarProvider } from 'notistack';
import { createRoot } from 'react-dom/client';
import { Provider } from 'react-redux';
import { BrowserRouter } from 'react-router-dom';

function Shell() {
  return (
    <Provider store={store}>
      <QueryClientProvider client={queryClient}>
        <ThemeProvider theme={createMuiTheme(lightTheme)}>
          <CssBaseline />
          <SnackbarProvider>
            <BrowserRouter>
              <Box sx={{ display: 'flex', height: '100vh' }}>
                <Sidebar />
                <Box component="main" sx={{ flexGrow: 1, overflow: 'auto', p: 2 }}>
                  <RouteSwitcher requiresToken={() => false} />
                </Box>
              </Box>
            </BrowserRouter>
          </SnackbarProvider>
        </ThemeProvider>
      </QueryClientProvider>
    </Provider>
  );
}

async function loadPlugin() {
  const script = document.createElement('script');
  script.src = '/plugins/akv2k8s/main.js';
  const loaded = new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = reject;
  });
  document.head.append(script);
  await loaded;
  await initializePlugins();
}

store.dispatch(
  setConfig({ clusters: { main: { name: 'main', auth_type: '', meta_data: {} } } } as never)
);
await loadPlugin();
createRoot(document.getElementById('root')!).render(<Shell />);
