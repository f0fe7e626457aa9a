// Node.js' server: node io.js http PORT. One process, one thread that runs JavaScript.
const http = require('node:http');

const server = http.createServer((_, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 13 });
  response.end('Hello, world!');
});
// Connections stay open between rounds.
server.keepAliveTimeout = 0;
server.headersTimeout = 0;
server.requestTimeout = 0;
server.listen(Number(process.argv[3]), '127.0.0.1', 4096);
