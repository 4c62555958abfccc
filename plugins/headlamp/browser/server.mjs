// Serves the page, the built plugin, and the API server below /clusters/main, as Headlamp's server does.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const cluster = '/clusters/main';
const types = { '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html', '.json': 'application/json' };

/** serve starts the server; api is the URL of a server without authentication, such as kubectl proxy. */
export async function serve(api) {
  const target = new URL(api);
  const server = createServer((incoming, answer) => {
    if (incoming.url.startsWith(cluster + '/')) {
      forward(target, incoming, answer);
    } else if (incoming.url === '/plugins/akv2k8s/main.js') {
      send(join(here, '../dist/main.js'), answer);
    } else {
      const file = join(here, 'dist', normalize(new URL(incoming.url, 'http://x').pathname));
      const isFile = file.startsWith(join(here, 'dist')) && existsSync(file) && statSync(file).isFile();
      send(isFile ? file : join(here, 'dist/index.html'), answer);
    }
  });
  server.on('upgrade', (incoming, socket, head) => forwardSocket(target, incoming, socket, head));
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.closeAllConnections() };
}

function send(file, answer) {
  answer.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(answer);
}

function forward(target, incoming, answer) {
  const outgoing = request(
    {
      host: target.hostname,
      port: target.port,
      method: incoming.method,
      path: incoming.url.slice(cluster.length),
      headers: { ...incoming.headers, host: target.host },
    },
    response => {
      answer.writeHead(response.statusCode, response.headers);
      response.pipe(answer);
    }
  );
  outgoing.on('error', error => {
    answer.writeHead(502, { 'Content-Type': 'application/json' });
    answer.end(JSON.stringify({ message: error.message }));
  });
  incoming.pipe(outgoing);
}

/** forwardSocket forwards a watch over a WebSocket. */
function forwardSocket(target, incoming, socket, head) {
  const outgoing = connect(target.port, target.hostname, () => {
    const headers = { ...incoming.headers, host: target.host };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    const path = incoming.url.slice(cluster.length);
    outgoing.write([`GET ${path} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
    outgoing.write(head);
    socket.pipe(outgoing).pipe(socket);
  });
  outgoing.on('error', () => socket.destroy());
  socket.on('error', () => outgoing.destroy());
}
