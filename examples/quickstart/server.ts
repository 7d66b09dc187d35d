// All three parts of reprise in one server. `server.cjs` is the same in plain JavaScript.
import express from 'express';
import {
  chaosMiddleware,
  getChaosMetrics,
  idempotencyMiddleware,
  initChaos,
  registerKernel,
  retryKernelTask,
} from 'reprise';

const app = express();

// 1. Initialize chaos (development only)
if (process.env.NODE_ENV === 'development' && process.env.CHAOS_ENABLED === 'true') {
  initChaos({
    enabled: true,
    failureProbability: 0.05, // 5% of requests fail
    latencyProbability: 0.1, // 10% have added latency
    latencyRange: [100, 5000], // of 100 to 5000 ms
    kernelKillProbability: 0.01, // 1% kill the kernel
    excludedPaths: ['/api/health', '/api/chaos/metrics'],
  });
}

// 2. Apply middleware
app.use(express.json()); // Read the body first: a key stands for one body
app.use(chaosMiddleware()); // Inject chaos: what it refuses has not arrived, and takes no key
app.use(idempotencyMiddleware()); // Then handle idempotency

// 3. Routes
app.post('/api/search-jobs', async (req, res) => {
  // Will retry on failure, prevent duplicates, and meet chaos
  const { query } = req.body as { query: string };
  res.json(await processSearch(query));
});

app.get('/api/health', (req, res) => {
  res.json({ ok: true });
});

app.get('/api/chaos/metrics', (req, res) => {
  res.json(getChaosMetrics());
});

// 4. The work: up to three tries, with a wait of 1 s and then of 2 s
const processSearch = retryKernelTask((query: string) => {
  if (!kernelIsUp) throw new Error('the kernel is down');
  return { job: ++jobs, query };
});

// Stands for a worker, a child process, another service: what chaos may kill, and what comes up again.
let kernelIsUp = false;
let jobs = 0;
function startKernel() {
  kernelIsUp = true;
  registerKernel('kernel-1', () => {
    kernelIsUp = false;
    setTimeout(startKernel, 500);
  });
}
startKernel();

const port = Number(process.env.PORT ?? 5000);
const server = app.listen(port, (error) => {
  if (error) throw error;
  console.log('listening on', server.address());
});
