/* A program that embeds Python, as desktop programs do. EMBEDDED_PATH is what it adds to sys.path, EMBEDDED_EXECUTABLE
   what sys.executable is to be; the default is whatever python3 is on PATH. */
#include <Python.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    PyConfig config;
    const char *executable = getenv("EMBEDDED_EXECUTABLE");
    printf("started with %d arguments\n", argc - 1);
    fflush(stdout);
    if (argc > 1) { /* a window that somebody would have to close */
        sleep(60);
        return 0;
    }
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    if (executable && *executable)
        PyConfig_SetBytesString(&config, &config.executable, executable);
    if (PyStatus_Exception(Py_InitializeFromConfig(&config)))
        return 3;
    PyConfig_Clear(&config);
    PyRun_SimpleString("import os, sys\n"
                       "sys.path += os.environ['EMBEDDED_PATH'].split(os.pathsep)\n"
                       "import remote_wheel\n"
                       "print(remote_wheel.require('thing').__version__)\n");
    return Py_FinalizeEx() < 0;
}
