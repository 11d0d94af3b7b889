# Makes an export with Devise: ruby make.rb, in this folder. See README.md.
require "csv"
require "devise"
require "devise/encryptor"

one, two = "correct horse battery staple", "pässwörd ✓ 2"
people = [["ana", one, true], ["bob", two, true], ["cle", one, false], ["dee", nil, true]]
model = Struct.new(:stretches, :pepper).new(4, File.read("devise.pepper").chomp)

CSV.open("devise.csv", "w") do |table|
  table << %w[id email encrypted_password reset_password_token reset_password_sent_at remember_created_at
              confirmed_at failed_attempts unlock_token locked_at created_at updated_at]
  people.each.with_index(1) do |(name, password, active), id|
    time = "2024-05-06 07:08:09.123456"
    table << [id, "#{name}@devise.example", password ? Devise::Encryptor.digest(model, password) : "", nil, nil, nil,
              time, 0, nil, active ? nil : time, time, time]
  end
end
