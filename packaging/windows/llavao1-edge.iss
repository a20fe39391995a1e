; Inno Setup recipe for the installer on Windows. UNPROVEN: it has not been run yet.
; build.ps1 calls: iscc /DVersion=0.1.0 packaging\windows\llavao1-edge.iss
#ifndef Version
  #error Give the version: /DVersion=0.1.0
#endif
[Setup]
AppId={{B4E2C1A9-6D0B-4C57-9E02-7B8C5B7A4F11}
AppName=llavao1-edge
AppVersion={#Version}
DefaultDirName={autopf}\llavao1-edge
DefaultGroupName=llavao1-edge
PrivilegesRequired=lowest
PrivilegesRequiredOverridesAllowed=dialog
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
OutputDir=..\..\dist
OutputBaseFilename=llavao1-edge-{#Version}-windows-x64
LicenseFile=..\..\LICENSE
Compression=lzma2/max
SolidCompression=yes
ChangesAssociations=yes
UninstallDisplayIcon={app}\llavao1-edge.exe

[Files]
Source: "..\..\build\bundle\llavao1-edge\*"; DestDir: "{app}"; Flags: recursesubdirs ignoreversion

[Icons]
Name: "{group}\llavao1-edge"; Filename: "{app}\llavao1-edge.exe"

; "Open with" for pictures; no picture is taken away from another program.
[Registry]
Root: HKA; Subkey: "Software\Classes\Applications\llavao1-edge.exe\shell\open\command"; ValueType: string; ValueData: """{app}\llavao1-edge.exe"" gui ""%1"""; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\.png\OpenWithProgids"; ValueType: string; ValueName: "llavao1-edge.picture"; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\.jpg\OpenWithProgids"; ValueType: string; ValueName: "llavao1-edge.picture"; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\.webp\OpenWithProgids"; ValueType: string; ValueName: "llavao1-edge.picture"; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\llavao1-edge.picture\shell\open\command"; ValueType: string; ValueData: """{app}\llavao1-edge.exe"" gui ""%1"""; Flags: uninsdeletekey

[Run]
Filename: "{app}\llavao1-edge.exe"; Description: "Open llavao1-edge"; Flags: postinstall nowait skipifsilent
