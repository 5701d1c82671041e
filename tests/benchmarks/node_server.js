"use strict";

// What the benchmarks ask of Node: POST /upload counts the body, GET /delay/N answers after N ms,
// and GET /1k.
// One argument: a JSON object with the options (see tests/support/servers/node.py).

const fs = require("node:fs");
const http2 = require("node:http2");

const options = JSON.parse(process.argv[2]);

function answer(response, body) {
  response.setHeader("content-length", body.length);
  response.end(body);
}

const tls = {
  cert: fs.readFileSync(options.certificate),
  key: fs.readFileSync(options.key),
  allowHTTP1: true,
  // With Node's own 64 KiB an upload measures Node's WINDOW_UPDATEs.
  settings: { initialWindowSize: 1 << 20, maxConcurrentStreams: 128 },
};

const server = http2.createSecureServer(tls, (request, response) => {
  const delay = /^\/delay\/(\d+)$/.exec(request.url);
  if (delay) {
    setTimeout(() => answer(response, Buffer.alloc(64, "a")), Number(delay[1]));
  } else if (request.url === "/upload") {
    let length = 0;
    request.on("data", (chunk) => { length += chunk.length; });
    request.on("end", () => answer(response, Buffer.from(String(length))));
  } else {
    answer(response, Buffer.alloc(1024, "a"));
  }
});
server.on("session", (session) => session.setLocalWindowSize(16 << 20));
server.keepAliveTimeout = 60_000;
server.listen(options.port, "127.0.0.1");

process.on("SIGTERM", () => process.exit(0));
