// Takes domain events, and says which orders are paid. Run: node docs/consume/app.mjs
import { createServer } from 'node:http'

const handled = new Set() // In production this is a table, written in the transaction that changes the order.
const versions = new Map()

function apply({ 'detail-type': type, detail }) {
  if (!['invoice.paid', 'payment.succeeded'].includes(type)) return // Not about an order.
  if (handled.has(detail.id)) return // A duplicate.
  const { kind, scope, id } = detail.subject
  const subject = [kind, scope, id].join('/')
  if (detail.version < (versions.get(subject) ?? 0)) return // Older than what is known.
  const { paid } = detail // The total. Absent while webhooks contradict each other.
  console.log(`${detail.reference} is paid: ${paid ? `${paid.currency} ${paid.amount}` : 'look at Xendit'}`)
  versions.set(subject, detail.version)
  handled.add(detail.id)
}

createServer(async (request, response) => {
  try {
    apply(JSON.parse(Buffer.concat(await request.toArray())))
    response.writeHead(204).end()
  } catch (error) {
    response.writeHead(500).end(`${error}\n`) // The event is sent again.
  }
}).listen(process.env.PORT ?? 3000, '127.0.0.1')
