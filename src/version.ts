declare const __DBOPS_VERSION__: string | undefined;

/** The package's version, put in by the build. */
export const version = typeof __DBOPS_VERSION__ === 'string' ? __DBOPS_VERSION__ : '0.0.0-source';
