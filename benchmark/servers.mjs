// The servers that the tests start, for the scenarios that need one. They are TypeScript, which Node 20 cannot load.
import { tsImport } from 'tsx/esm/api';

export const testServers = () => tsImport('../__test__/stores/servers.ts', import.meta.url);
