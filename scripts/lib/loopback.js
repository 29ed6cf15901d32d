// Preloaded into kinesis-local to make it listen on loopback only, instead of on all of the machine's addresses.
const net = require('net');

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  if (args[0] !== null && typeof args[0] === 'object' && args[0].port !== undefined) {
    args[0] = { ...args[0], host: '127.0.0.1' };
  } else if (typeof args[0] === 'number') {
    const rest = args.slice(1).filter((arg) => typeof arg !== 'string');
    args = [args[0], '127.0.0.1', ...rest];
  }
  return listen.apply(this, args);
};
