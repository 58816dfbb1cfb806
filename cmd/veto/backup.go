package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"veto/client"
	"veto/node/certs"
	"veto/node/recovery"
)

// backupTo is where a backup goes, and who can open it.
type backupTo struct {
	path           string
	recipients     []string
	recipientsFile string
	plain          bool
}

func newBackup(r *remote) *cobra.Command {
	var to backupTo
	c := r.command("backup", "Write all that the cluster knows to a file", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		contents, err := to.write(ctx, c)
		if err != nil {
			return err
		}
		return showContents(out, contents, "written", to.path)
	})
	c.Long = "Writes the whole state of the cluster, as it is at one revision on the node that answers, to a file.\n" +
		"The cluster goes on meanwhile. The file is there once it is whole, and was read through; until then it is\n" +
		"called FILE.part. One that is left by a backup that was killed is replaced by the next to that file.\n\n" +
		"A backup holds shared secrets of issuers in the clear, and the key by which names are hashed. So it is\n" +
		"encrypted with age to those who may restore it, unless --plain is given:\n\n" +
		"  age-keygen -o veto-backup.key        once, on a machine that is not one of the cluster\n" +
		"  veto backup --out veto.backup --recipient age1...\n\n" +
		"It does not hold what nodes have in files: certificates, the pepper_key_file, and settings. Without the\n" +
		"pepper_key_file no backup of a cluster that has a pepper can be restored: keep it as well, elsewhere.\n\n" +
		"It takes an operator with the role admin."
	f := c.Flags()
	f.StringVar(&to.path, "out", "", "file to make; none is overwritten")
	f.StringArrayVar(&to.recipients, "recipient", nil, "age recipient that can open it (age1...); may be given more than once")
	f.StringVar(&to.recipientsFile, "recipients-file", "", "file with age recipients, one a line")
	f.BoolVar(&to.plain, "plain", false, "do not encrypt it")
	c.AddCommand(newBackupVerify())
	return c
}

func (b *backupTo) parse() ([]age.Recipient, error) {
	var all []age.Recipient
	for _, text := range b.recipients {
		some, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, &exit{exitUsage, errors.New("--recipient: this is no age recipient, as age-keygen shows one: age1...")}
		}
		all = append(all, some...)
	}
	if b.recipientsFile != "" {
		f, err := os.Open(b.recipientsFile)
		if err != nil {
			return nil, fmt.Errorf("--recipients-file: %w", err)
		}
		some, err := age.ParseRecipients(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("--recipients-file: %s: %w", b.recipientsFile, err)
		}
		all = append(all, some...)
	}
	switch {
	case b.path == "":
		return nil, &exit{exitUsage, errors.New("--out: give the file to make")}
	case len(all) == 0 && !b.plain:
		return nil, &exit{exitUsage, errors.New("--recipient: say who can open the backup, which holds secrets; or give --plain to have it in the clear")}
	case len(all) > 0 && b.plain:
		return nil, &exit{exitUsage, errors.New("--plain: goes with no recipient")}
	}
	return all, nil
}

// write has the file be there once it is whole and durable.
func (b *backupTo) write(ctx context.Context, c *client.Client) (contents recovery.Contents, err error) {
	recipients, err := b.parse()
	if err != nil {
		return contents, err
	}
	if _, err := os.Lstat(b.path); err == nil {
		return contents, fmt.Errorf("--out: %s is there already, and no file is overwritten", b.path)
	}
	f, err := partOf(b.path)
	if err != nil {
		return contents, fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err != nil && lockAt(f, f.Name()) == nil { // it is this one's still
			_ = os.Remove(f.Name())
		}
		err = errors.Join(err, f.Close()) // and with that others may write to it
	}()
	body, err := c.Backup(ctx)
	if err != nil {
		return contents, err
	}
	defer func() { _ = body.Close() }()
	if contents, err = seal(f, body, recipients); err != nil {
		return contents, err
	}
	if err = f.Sync(); err != nil {
		return contents, fmt.Errorf("--out: %w", err)
	}
	if err = lockAt(f, f.Name()); err != nil { // somebody has put another file there
		return contents, fmt.Errorf("--out: %w", err)
	}
	if err = appear(f.Name(), b.path); err != nil {
		return contents, fmt.Errorf("--out: %w", err)
	}
	return contents, syncDir(filepath.Dir(b.path))
}

// partOf makes the file in which a backup is written until it is whole, which only its owner may open. It is locked
// as long as it is open: one that nobody has locked was left by a backup that was killed, and goes.
func partOf(path string) (*os.File, error) {
	path += ".part"
	left, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err == nil {
		if err = lockAt(left, path); err == nil {
			err = os.Remove(path)
		}
		err = errors.Join(err, left.Close())
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, anotherAt(path)
	}
	if err != nil {
		return nil, err
	}
	if err := lockAt(f, path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lockAt locks the file, if it is what is at the path still: another may have locked it just before, taken it for one
// that was left, and put its own there.
func lockAt(f *os.File, path string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s cannot be locked: %w", path, err)
	}
	mine, errMine := f.Stat()
	there, errThere := os.Lstat(path)
	if err != nil || errMine != nil || errThere != nil || !os.SameFile(mine, there) {
		return anotherAt(path)
	}
	return nil
}

func anotherAt(path string) error {
	return fmt.Errorf("another backup is being written to %s; wait for it, or give another --out", path)
}

// appear gives the file its name, unless one has that by now.
func appear(temporary, path string) error {
	err := os.Link(temporary, path)
	switch {
	case err == nil:
		return os.Remove(temporary)
	case errors.Is(err, os.ErrExist):
		return err
	}
	return os.Rename(temporary, path) // where there are no links
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// seal reads the backup through while it writes it, and ends with an error where it is not whole.
func seal(to io.Writer, from io.Reader, recipients []age.Recipient) (recovery.Contents, error) {
	sealed := io.WriteCloser(unsealed{to})
	if len(recipients) > 0 {
		var err error
		if sealed, err = age.Encrypt(to, recipients...); err != nil {
			return recovery.Contents{}, err
		}
	}
	contents, err := recovery.Verify(io.TeeReader(from, sealed))
	return contents, errors.Join(err, sealed.Close())
}

type unsealed struct{ io.Writer }

func (unsealed) Close() error { return nil }

// ageBegins is how a file begins that age has encrypted.
const ageBegins = "age-encryption.org/"

// openBackup opens a backup, with the identities in the file if it is encrypted. It is read until the context
// ends. The caller closes it.
func openBackup(ctx context.Context, path, identityFile string) (io.Reader, io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	in, err := unseal(untilDone{ctx, f}, path, identityFile)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return in, f, nil
}

// untilDone reads until the context ends: a backup may be large, and whoever reads it be asked to stop.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

func unseal(f io.Reader, path, identityFile string) (io.Reader, error) {
	in := bufio.NewReader(f)
	begin, err := in.Peek(len(ageBegins))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(begin) != ageBegins {
		return in, nil
	}
	if identityFile == "" {
		return nil, &exit{exitUsage, fmt.Errorf("%s is encrypted: give --identity-file, with the age identity of one of those whom it was encrypted to", path)}
	}
	text, err := certs.ReadSecret(identityFile)
	if err != nil {
		return nil, fmt.Errorf("--identity-file: %w", err)
	}
	identities, err := age.ParseIdentities(strings.NewReader(string(text)))
	if err != nil {
		// Its text may hold a line of the file.
		return nil, fmt.Errorf("--identity-file: %s does not hold age identities, one a line, as age-keygen makes them", identityFile)
	}
	plain, err := age.Decrypt(in, identities...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("--identity-file: %s is encrypted to others: no identity in %s opens it", path, identityFile)
	case err != nil:
		return nil, fmt.Errorf("%s: the backup is not whole: %w", path, err)
	}
	return unsealing{plain}, nil
}

// unsealing reads what age has decrypted, and says of its errors that they are of that.
type unsealing struct{ io.Reader }

func (u unsealing) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &unsealError{err}
	}
	return n, err
}

type unsealError struct{ error }

func (e *unsealError) Unwrap() error { return e.error }

func newBackupVerify() *cobra.Command {
	var identityFile string
	c := &cobra.Command{
		Use: "verify FILE", Short: "Tell whether a backup is whole, and what it holds", Args: cobra.ExactArgs(1),
		Long: "Reads a backup to its end, without a cluster, and tells what it holds. It ends with 0 if every byte is as\n" +
			"it was written, and with 1 if not.",
	}
	c.Flags().StringVar(&identityFile, "identity-file", "", "file with the age identity that opens it, if it is encrypted")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		out, err := outputOf(cmd)
		if err != nil {
			return err
		}
		in, closer, err := openBackup(cmd.Context(), args[0], identityFile)
		if err != nil {
			return err
		}
		contents, err := recovery.Verify(in)
		if err = errors.Join(err, closer.Close()); err != nil {
			return fmt.Errorf("%s: %w", args[0], notWhole(err))
		}
		return showContents(out, contents, "whole", args[0])
	}
	return c
}

// notWhole says of an error of age's what that means.
func notWhole(err error) error {
	var broken *unsealError
	if !errors.As(err, &broken) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("the backup is not whole: it was cut off, changed or damaged (%w)", err)
}

func showContents(out *printer, c recovery.Contents, how, path string) error {
	pepper := ""
	if len(c.WrappedBy) > 0 {
		pepper = "needs the pepper_key_file with the key " + strings.Join(c.WrappedBy, ", ")
	}
	return out.fields(c, how, path, "cluster", c.ClusterID, "revision", c.Revision, "as of", moment(c.AsOf),
		"taken", fmt.Sprintf("%s by %s, veto %s", moment(c.TakenAt), c.Node, c.Version), "records", c.Records, "issuers", c.Issuers,
		"consumers", c.Consumers, "api keys", c.Keys, "revocations", c.Revocations, "audit head", c.AuditHead, "pepper", pepper)
}
