// As the documentation of Node has it, but for three things: the socket is descriptor 3, a header says which process
// answers, and who keeps a connection is told to leave it before it is closed.
const http = require("http");

const LINGER = 1000; // milliseconds
let stopping = false;

const server = http.createServer((request, response) => {
  response.setHeader("x-zdt-instance", `invocation=${process.env.INVOCATION_ID}`);
  if (stopping) response.setHeader("connection", "close");
  setTimeout(() => response.end("hello\n"), request.url === "/slow" ? 800 : 0);
});
server.listen({ fd: 3 });

process.on("SIGTERM", () => {
  stopping = true;
  setTimeout(() => server.close(() => process.exit(0)), LINGER);
});
