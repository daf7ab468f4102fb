/*
 * Runs a program under Wine in a console of its own, presses Ctrl-C there when the program has begun to write (a file
 * .statline-*.tmp is there), and ends with its status. Windows has no other way to send one process a Ctrl-C.
 *
 *     interrupt.exe "statline.exe scan ..."
 */
#define _WIN32_WINNT 0x0A00
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

/* From consoleapi.h and processthreadsapi.h, which older MinGW headers do not have. */
#define PSEUDOCONSOLE_ATTRIBUTE 0x00020016
typedef HRESULT(WINAPI *create_console)(COORD, HANDLE, HANDLE, DWORD, void **);

enum { POLL_MS = 20, PATIENCE_MS = 60000 };

static void check(BOOL done, const char *what)
{
    if (!done) {
        fprintf(stderr, "%s: error %lu\n", what, GetLastError());
        exit(99);
    }
}

static BOOL writes(void)
{
    WIN32_FIND_DATAA found;
    HANDLE search = FindFirstFileA(".statline-*.tmp", &found);
    return search != INVALID_HANDLE_VALUE && FindClose(search);
}

int main(int argc, char **argv)
{
    check(argc == 2, "one argument is expected, a command line");
    create_console create = (create_console)(void *)GetProcAddress(GetModuleHandleA("kernel32.dll"), "CreatePseudoConsole");
    check(create != NULL, "CreatePseudoConsole");
    HANDLE keys, keyboard, screen, shown;
    check(CreatePipe(&keys, &keyboard, NULL, 0) && CreatePipe(&shown, &screen, NULL, 0), "CreatePipe");
    void *console;
    COORD size = {80, 25};
    check(create(size, keys, screen, 0, &console) == S_OK, "CreatePseudoConsole");

    SIZE_T length = 0;
    InitializeProcThreadAttributeList(NULL, 1, 0, &length);
    STARTUPINFOEXA start = {.StartupInfo.cb = sizeof start, .lpAttributeList = malloc(length)};
    check(start.lpAttributeList != NULL, "malloc");
    check(InitializeProcThreadAttributeList(start.lpAttributeList, 1, 0, &length), "InitializeProcThreadAttributeList");
    check(UpdateProcThreadAttribute(start.lpAttributeList, 0, PSEUDOCONSOLE_ATTRIBUTE, console, sizeof console, NULL, NULL),
          "UpdateProcThreadAttribute");
    PROCESS_INFORMATION child;
    check(CreateProcessA(NULL, argv[1], NULL, NULL, FALSE, EXTENDED_STARTUPINFO_PRESENT, NULL, NULL, &start.StartupInfo,
                         &child),
          "CreateProcess");

    for (int waited = 0; !writes(); waited += POLL_MS) {
        check(waited < PATIENCE_MS && WaitForSingleObject(child.hProcess, POLL_MS) == WAIT_TIMEOUT, "it did not begin to write");
    }
    FreeConsole();
    check(AttachConsole(child.dwProcessId), "AttachConsole");
    check(SetConsoleCtrlHandler(NULL, TRUE), "SetConsoleCtrlHandler");
    check(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0), "GenerateConsoleCtrlEvent");

    DWORD status = 99;
    if (WaitForSingleObject(child.hProcess, PATIENCE_MS) != WAIT_OBJECT_0) {
        TerminateProcess(child.hProcess, 98);
        check(FALSE, "it does not end");
    }
    check(GetExitCodeProcess(child.hProcess, &status), "GetExitCodeProcess");
    return (int)status;
}
