// What `--help` prints: one screen.

export const HELP = `Usage: tsgiref [options] [FILE[:NAME]]

Serves the application that FILE exports: NAME, NAME() if that makes it, else
\`default\`, \`app\` or \`application\`. Without FILE, serves a demo.

  -b, --bind HOST:PORT   --host HOST   -p, --port PORT     (127.0.0.1:8000)
  -r, --reload           restart when the application changes
      --trace            print what server and application say to each other
      --request 'POST /' run it once without a socket and print the response;
                         -H 'Name: value', -d TEXT, -d @FILE, -d - for a body
      --once             serve one request, and stop
      --cgi              be a CGI program
      --plain            the bare application: no validator, no error page
      --no-validate      no validator         --debug   error page for everyone
      --allow-host NAME  answer to this Host  --open    open the browser
      --tls-cert FILE --tls-key FILE          serve HTTPS
      --max-connections N  --backlog N  --max-header-size BYTES
      --max-requests N     --timeout SECONDS
  -q, --quiet            print errors alone   --version  -h, --help

  npx tsgiref app.ts --reload
  npx tsgiref app.ts:admin -p 8080 --trace
  npx tsgiref app.ts --request 'POST /form' -d 'name=value'
`;
