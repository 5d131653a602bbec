// lookup.js lookup|resolve any|a|aaaa|srv NAME, or ptr ADDRESS: what Node finds,
// one a line, by the C library (lookup) or by c-ares (resolve).
const dns = require('node:dns').promises;
const [how, kind, name] = process.argv.slice(2);

async function find() {
  if (how === 'lookup') {
    if (kind === 'ptr') return [(await dns.lookupService(name, 80)).hostname];
    const family = { any: 0, a: 4, aaaa: 6 }[kind];
    return (await dns.lookup(name, { all: true, family })).map((x) => x.address);
  }
  switch (kind) {
    case 'a': return dns.resolve4(name);
    case 'aaaa': return dns.resolve6(name);
    case 'ptr': return dns.reverse(name);
    case 'srv': return (await dns.resolveSrv(name)).map((s) => `${s.priority} ${s.weight} ${s.port} ${s.name}.`);
  }
}

find().then((lines) => lines.forEach((l) => console.log(l)), (err) => console.log(`error ${err.code}`));
