// Nodes of npm's bittorrent-dht, for the tests of finding peers.
//
//   node dht_node.mjs MODULES HOST PORT COUNT [announce HASH PEER_PORT | lookup HASH]
//
// COUNT nodes listen on PORT and behind it, and say `ready` when they know each other. Then the last one announces a peer
// at a port of its host and says `announced`, or looks for peers again and again and says `peer HOST:PORT` of each.
const [modules, host, port, count, task, hash, peerPort] = process.argv.slice(2)
const { Client } = await import(`${modules}/bittorrent-dht/index.js`)

let node
for (let n = 0; n < Number(count); n++) {
  node = new Client({ bootstrap: n > 0 && [`${host}:${port}`] })
  node.on('peer', (peer) => console.log(`peer ${peer.host}:${peer.port}`))
  node.listen(Number(port) + n, host)
  await new Promise((resolve) => node.once('ready', resolve))
}
console.log('ready')
if (task === 'announce') {
  node.announce(hash, Number(peerPort), (error) => console.log(error ?? 'announced'))
} else if (task === 'lookup') {
  setInterval(() => node.lookup(hash), 1000)
}
